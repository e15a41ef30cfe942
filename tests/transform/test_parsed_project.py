"""The parsed dbt project is used again for another date, and never for another home."""

from collections.abc import Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

from dbt.contracts.graph.manifest import Manifest

from pipelines.core.settings import Settings
from pipelines.transform import warehouse
from pipelines.transform.parsed_project import load_parsed_project
from pipelines.transform.warehouse import state_folder, variables

ONE_DAY, OTHER_DAY = date(2026, 1, 31), date(2027, 12, 1)
CLOCKS = {"created_at", "generated_at", "invocation_id", "invocation_started_at", "run_started_at"}


def parse(settings: Settings, day: date) -> Manifest:
    options = warehouse._options(settings, day)
    return load_parsed_project(state_folder(settings), variables(settings, day), options)


def contents(project: Manifest) -> dict[str, Any]:
    """Return all that dbt parsed, without the times at which it did."""
    parsed = {"nodes", "sources", "macros", "exposures", "unit_tests", "docs", "disabled"}
    return _without_clocks({name: project.to_dict()[name] for name in parsed})


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


def copies(settings: Settings) -> list[Path]:
    return sorted(state_folder(settings).glob("parsed-*.msgpack"))


def test_what_is_parsed_for_one_date_is_what_another_date_parses(tmp_path: Path):
    settings = Settings(home=tmp_path / "home")
    one = contents(parse(settings, ONE_DAY))
    (stored,) = copies(settings)
    again = contents(parse(settings, OTHER_DAY))
    assert copies(settings) == [stored]
    stored.unlink()
    assert contents(parse(settings, OTHER_DAY)) == one == again
    assert len(one["nodes"]) > 50
    assert f"{ONE_DAY}" not in set(texts(one))


def test_another_home_parses_its_own_places(tmp_path: Path):
    homes = [Settings(home=tmp_path / name) for name in ("one", "other")]
    parsed = [contents(parse(settings, ONE_DAY)) for settings in homes]
    for settings, found, other in zip(homes, parsed, reversed(homes), strict=True):
        places = [text for text in texts(found["sources"]) if "read_parquet(" in text]
        assert places
        assert any(str(settings.home) in place for place in places)
        assert not any(str(other.home) in place for place in places)


def test_a_damaged_copy_is_made_again(tmp_path: Path):
    settings = Settings(home=tmp_path)
    expected = contents(parse(settings, ONE_DAY))
    (stored,) = copies(settings)
    stored.write_bytes(stored.read_bytes()[:1000])
    assert contents(parse(settings, ONE_DAY)) == expected
    assert stored.stat().st_size > 1000


def test_other_settings_parse_again(tmp_path: Path):
    one = copies_after(Settings(home=tmp_path, time_zone="Asia/Shanghai"))
    other = copies_after(Settings(home=tmp_path, time_zone="Europe/Berlin"))
    assert len(one) == len(other) == 1
    assert one != other


def copies_after(settings: Settings) -> list[Path]:
    parse(settings, ONE_DAY)
    return copies(settings)
