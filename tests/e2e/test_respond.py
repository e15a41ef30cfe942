"""The simulated world answers what was delivered, and the pipeline never sees its truth."""

import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.publishing import publishing, read_manifest, write_parquet
from pipelines.core.settings import PROJECT, Settings
from pipelines.deliveries.deliver import deliver, plan_shards
from pipelines.simulate import respond
from tests.e2e.conftest import Ran, copied
from tests.e2e.market import MONDAY, SUNDAY, banyan, run
from tests.e2e.published_bytes import published

KNOWS = {
    "pipelines/bench",
    "pipelines/evaluation/scorecard",
    "pipelines/simulate",
    "pipelines/cli/commands.py",
    "dags/local/season.py",
}
"""Who may know of the truth: nobody in here is a step of the day."""


def landing_of(home: Path) -> dict[str, bytes]:
    folder = home / "landing"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def answered(ran: Ran, tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """Return what answers a day in a home of its own and returns the files that this added."""
    home = copied(ran.home, tmp_path / "home")

    def answer(day: date = MONDAY, last: date | None = None) -> dict[str, bytes]:
        before = landing_of(home)
        respond(Settings(home=home), day, last)
        after = landing_of(home)
        assert before.items() <= after.items()  # nothing that lay there was touched
        return {name: after[name] for name in after.keys() - before.keys()}

    return answer


def rows_of(home: Path, table: str, file: str) -> str:
    return f"read_parquet('{home}/{table}/date={MONDAY}/{file}.parquet', hive_partitioning = false)"


def test_every_delivered_pair_is_known_to_the_world_and_answered_with_its_match_id(
    ran: Ran, tmp_path: Path
):
    home = copied(ran.home, tmp_path / "home")
    said = respond(Settings(home=home), MONDAY)
    assert said["delivered"] == ran.figures[f"{MONDAY}"]["matches"]
    assert said["unknown"] == 0
    assert said["rows"] > 0
    ((pairs, leads),) = duckdb.sql(
        f"""
        select count(*), count(distinct lead_id)
        from {rows_of(home, "truth", "responses")} as answered
        join {rows_of(home, "matches", "matches")} as matches
            using (match_id, channel_id, lead_id, rank)
        """
    ).fetchall()
    assert pairs == said["delivered"] - said["already_shown"]
    assert leads > 20


def test_the_pipeline_takes_the_answers_in_and_links_them(ran: Ran, tmp_path: Path):
    home = copied(ran.home, tmp_path / "home")
    settings = Settings(home=home)
    respond(settings, MONDAY)
    tuesday = MONDAY + timedelta(days=1)
    for verb in ("ingest", "transform"):
        ended = banyan(home, verb, "--date", f"{tuesday}")
        assert ended.returncode == 0, ended.stderr
    marts = settings.day_folder(settings.marts, tuesday)
    matches = rows_of(home, "matches", "matches")
    ((linked,),) = duckdb.sql(
        f"""
        select count(*)
        from '{marts}/outcomes.parquet' semi join {matches}
            using (channel_id, lead_id, institution_id, product_id)
        where event_at >= timestamptz '{settings.day_start(tuesday)}'
        """
    ).fetchall()
    assert linked > 20
    lost = duckdb.sql(f"select count(*) from '{marts}/unlinked_outcomes.parquet'").fetchall()
    assert lost == [(0,)]


def test_answers_come_after_the_day_and_land_when_they_are_sent(answered):
    dates = {date.fromisoformat(name.split("/")[2]) for name in answered()}
    assert min(dates) == MONDAY + timedelta(days=1)
    assert max(dates) > MONDAY + timedelta(days=60)


def test_answering_twice_gives_the_same_bytes_and_a_last_date_only_leaves_out(answered):
    until = MONDAY + timedelta(days=3)
    first = answered(last=until)
    rest = answered()
    assert first
    assert {name.split("/")[2] <= f"{until}" for name in first} == {True}
    assert {name.split("/")[2] > f"{until}" for name in rest} == {True}
    assert answered() == {}


def test_every_day_has_answers_in_files_of_its_own(answered):
    sunday, monday = answered(SUNDAY), answered(MONDAY)
    assert all(f"answers-{SUNDAY}" in name for name in sunday)
    assert all(f"answers-{MONDAY}" in name for name in monday)
    assert {name.rpartition("/")[0] for name in sunday} & {
        name.rpartition("/")[0] for name in monday
    }


def test_a_corrected_delivery_is_answered_in_new_files(ran: Ran, tmp_path: Path, answered):
    answered()
    settings = Settings(home=tmp_path / "home")
    _leave_out_half(settings.day_folder(settings.matches, MONDAY))
    for shard in plan_shards(settings, MONDAY):
        assert deliver(settings, MONDAY, shard)["delivered"] > 0
    corrected = answered()
    assert corrected
    assert respond(settings, MONDAY)["delivered"] < ran.figures[f"{MONDAY}"]["matches"]


def _leave_out_half(folder: Path) -> None:
    facts = {
        name: fact
        for name, fact in read_manifest(folder).items()
        if name not in ("files", "content_sha256", "code_version")
    }
    matches = duckdb.sql(f"from '{folder}/matches.parquet'").to_arrow_table()
    half = matches.filter(pa.array([row % 2 == 0 for row in range(matches.num_rows)]))
    with publishing(folder, facts) as fresh:
        for file in folder.glob("*.parquet"):
            shutil.copyfile(file, fresh / file.name)
        write_parquet(half, fresh / "matches.parquet")


def test_a_day_that_was_not_delivered_is_not_answered(ran: Ran):
    with pytest.raises(InputMissing, match="Nothing was delivered on 2026-03-09"):
        respond(Settings(home=ran.home), date(2026, 3, 9))


def test_a_day_comes_out_the_same_where_the_truth_is_nowhere(landed: Path, ran: Ran, tmp_path):
    home = copied(landed, tmp_path / "home")
    shutil.rmtree(home / "truth")
    run(home, SUNDAY, SUNDAY)
    came = {name: it for name, it in published(home).items() if f"date={SUNDAY}" in name}
    stands = published(ran.home)
    assert len(came) > 20
    assert came.items() <= stands.items()


def test_no_step_of_the_day_names_the_truth_or_the_simulator():
    files = [
        path.relative_to(PROJECT).as_posix()
        for folder in ("dags", "pipelines", "models", "expectations", "dbt_project")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in (".py", ".sql") and "target" not in path.parts
    ]
    telling = {
        name
        for name in files
        if re.search(r"settings\.truth|pipelines\.simulate", (PROJECT / name).read_text("utf-8"))
    }
    assert len(files) > 100
    assert {name for name in telling if not name.startswith(tuple(KNOWS))} == set()
    assert telling >= {"pipelines/cli/commands.py", "dags/local/season.py"}
