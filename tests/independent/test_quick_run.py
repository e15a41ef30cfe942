"""The quick run of the property test publishes the same tables as the steps of the day."""

from pathlib import Path

import pytest

from dags.steps import run_whole_step
from pipelines.core.settings import Settings
from tests.helpers.remembered_gate import remembered_gate
from tests.independent.edited_home import EditedHome
from tests.independent.quick_run import at_date, compile_queries, run_day
from tests.independent.small_market import BEFORE, DAY, write_files

STEPS = ("ingest", "transform", "train", "score", "match", "deliver", "report")


def tables(home: Path) -> dict[str, bytes]:
    folders = ("lake", "marts", "pairs", "matches", "unmatched", "outbox")
    files = [path for name in folders for path in (home / name).rglob("*.*") if path.is_file()]
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in files
        if path.name != "manifest.json"
    }


@pytest.mark.prove
def test_a_quick_run_publishes_what_the_steps_publish(tmp_path: Path):
    with remembered_gate():
        home = EditedHome(tmp_path / "quick", 2, seed=5)
    settings = Settings(home=tmp_path / "steps", threads=1, memory_limit="1GB")
    write_files([file for files in home.files.values() for file in files], settings.landing)
    write_files(
        [file for market in home.files for file in home.files_of_day(market)],
        home.template / "landing",
    )
    quick = Settings(home=home.template, threads=1, memory_limit="1GB")
    run_day(quick, DAY, at_date(compile_queries(quick, BEFORE), BEFORE, DAY))
    for day in (BEFORE, DAY):
        for step in STEPS:
            run_whole_step(step, settings, day)
    expected, actual = tables(settings.home), tables(quick.home)
    assert len(expected) > 30
    assert [name for name in expected if actual.get(name) != expected[name]] == []
    assert actual.keys() == expected.keys()
