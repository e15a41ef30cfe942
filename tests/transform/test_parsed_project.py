"""The parsed dbt project is used again for other dates and homes, with the places of each."""

import os
import shutil
from collections.abc import Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from dbt.contracts.graph.manifest import Manifest

from pipelines.core.settings import Settings
from pipelines.transform import warehouse
from pipelines.transform.parsed_project import KEPT, PLACES, load_parsed_project
from pipelines.transform.warehouse import variables

ONE_DAY, OTHER_DAY = date(2026, 1, 31), date(2027, 12, 1)
CLOCKS = {"created_at", "generated_at", "invocation_id", "invocation_started_at", "run_started_at"}


def parse(folder: Path, settings: Settings, day: date) -> Manifest:
    return load_parsed_project(folder, variables(settings, day), warehouse._options(settings))


def contents(project: Manifest) -> dict[str, Any]:
    """Return all that dbt parsed, without the times at which it did."""
    parsed = ("nodes", "sources", "macros", "exposures", "unit_tests", "docs", "disabled")
    whole = project.to_dict()
    return _without_clocks({name: whole[name] for name in parsed})


@pytest.fixture(scope="module")
def parsed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project, parsed for one date; tests copy it."""
    folder = tmp_path_factory.mktemp("parsed")
    parse(folder / "stored", Settings(home=folder / "home"), ONE_DAY)
    return folder / "stored"


@pytest.fixture
def stored(parsed_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parsed_once, tmp_path / "stored"))


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if name not in CLOCKS}
        return {name: _without_clocks(each) for name, each in kept.items()}
    return [_without_clocks(each) for each in value] if isinstance(value, list) else value


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a tree of dictionaries and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(texts, value.values()))
    elif isinstance(value, list):
        yield from chain.from_iterable(map(texts, value))


def test_what_is_parsed_for_one_date_is_what_another_date_parses(tmp_path: Path, stored: Path):
    settings = Settings(home=tmp_path / "home")
    one = contents(parse(stored, settings, OTHER_DAY))
    assert len(list(stored.iterdir())) == 1
    assert contents(parse(tmp_path / "new", settings, OTHER_DAY)) == one
    assert len(one["nodes"]) > 50
    assert f"{ONE_DAY}" not in set(texts(one))


def test_homes_share_the_project_and_each_has_its_own_places(tmp_path: Path, stored: Path):
    homes = [Settings(home=tmp_path / name, threads=n) for n, name in enumerate(("one", "{2}*"), 1)]
    parsed = [contents(parse(stored, settings, ONE_DAY)) for settings in homes]
    assert len(list(stored.iterdir())) == 1
    for settings, found in zip(homes, parsed, strict=True):
        places = [source["meta"]["external_location"] for source in found["sources"].values()]
        folders = {variables(settings, ONE_DAY)[name] for name in PLACES}
        assert len(places) >= 12
        assert all(any(f"'{folder}/" in place for folder in folders) for place in places)
        assert not any("@" in place for place in places)


@pytest.mark.prove  # parses the project twice, 14 s
def test_a_damaged_copy_is_made_again(tmp_path: Path, stored: Path):
    settings = Settings(home=tmp_path)
    expected = contents(parse(stored, settings, ONE_DAY))
    (file,) = stored.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert contents(parse(stored, settings, ONE_DAY)) == expected
    assert file.stat().st_size > 1000


@pytest.mark.prove
def test_other_settings_parse_again_and_the_oldest_go(tmp_path: Path, stored: Path):
    (used,) = stored.iterdir()
    for number in range(KEPT):
        older = stored / f"parsed-{number:016}"
        older.touch()
        os.utime(older, (number, number))
    for zone in ("Asia/Shanghai", "Europe/Berlin"):
        parse(stored, Settings(home=tmp_path, time_zone=zone), ONE_DAY)
    assert used.is_file()
    sizes = [path.stat().st_size for path in stored.iterdir()]
    assert len(sizes) == KEPT
    assert sum(size > 0 for size in sizes) == 2
