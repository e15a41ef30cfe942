"""Marts that grow with history: each row is stored once, and each day keeps what it knew."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.home import schema_version
from pipelines.core.home.shared_marts import (
    find_changed_files,
    list_mart_files,
    list_shared_files,
    read_mart,
)
from pipelines.core.publishing import sha256, write_json
from pipelines.core.settings import Settings
from pipelines.transform.build import GROWING, SORT_KEYS, publish_marts
from tests.helpers.lake import Row, at, write_day
from tests.transform.conftest import DAY, DAYS, FIRST, Market, build_all

ONE = timedelta(days=1)
BUILT = [DAY - back * ONE for back in reversed(range(3))]
HALF = (len(BUILT) - 1) // 2


def folder(home: Settings, day: date) -> Path:
    return home.day_folder(home.marts, day)


def hashes(home: Settings, day: date) -> dict[Path, str]:
    """Return every file that the marts of `day` consist of."""
    own = [path for path in folder(home, day).iterdir() if path.is_file()]
    return {path: sha256(path) for path in (*own, *list_shared_files(folder(home, day)))}


def sort_rows(rows: pa.Table) -> pa.Table:
    """Return the rows in the order of all their columns; times are compared as Arrow has them."""
    return rows.sort_by([(name, "ascending") for name in rows.column_names])


@pytest.fixture(scope="module")
def season(tmp_path_factory: pytest.TempPathFactory) -> dict[date, dict[str, pa.Table]]:
    """The marts of the last days of the random market, built day after day in one home."""
    home = Settings(home=tmp_path_factory.mktemp("season"), threads=2)
    Market(home, DAY)  # writes the lake
    whole, hashed = {}, {}
    for day in BUILT:
        build_all(home, day)
        hashed[day] = hashes(home, day)
        with duckdb.connect(str(home.warehouse), read_only=True) as warehouse:
            warehouse.execute("set TimeZone = 'UTC'")
            whole[day] = {
                name: warehouse.sql(f"from {name} order by all").to_arrow_table()
                for name in GROWING
            }
    return {"home": home, "whole": whole, "hashes": hashed}


def test_the_marts_of_every_day_have_all_rows_known_then(season):
    """Read after all days were built, so that nothing that came later is in them."""
    for day, tables in season["whole"].items():
        for name, table in tables.items():
            stored = read_mart(folder(season["home"], day), name)
            assert sort_rows(stored).equals(sort_rows(table.cast(stored.schema))), (day, name)
    assert season["whole"][DAY]["outcomes"].num_rows > 300


def test_later_days_change_no_file_of_a_day(season):
    for day, before in season["hashes"].items():
        assert hashes(season["home"], day) == before


def test_a_row_is_stored_once_unless_later_knowledge_changes_it(season):
    """An outcome of the day before the last names a lead of the last day, and counts from then."""
    stored = (season["home"].marts / "history" / "outcomes").rglob("*.parquet")
    files = Counter(path.parent.name for path in stored)
    assert [period for period, count in files.items() if count > 1] == [f"{DAY - ONE}"]
    assert set(files) == {f"{FIRST + number * ONE}" for number in range(DAYS)}


def test_growth_a_day_is_constant(season):
    """Own files of a day, and the shared file of what became known on it."""
    home = season["home"]
    shared = list_shared_files(folder(home, DAY))
    grown = [
        sum(
            path.stat().st_size
            for path in (*folder(home, day).iterdir(), *shared)
            if path.parent.name in {f"{day}", f"date={day}"}
        )
        for day in BUILT[1:]
    ]
    first, second = sum(grown[:HALF]), sum(grown[-HALF:])
    assert 0 < second <= 1.2 * first


def test_a_second_build_gives_the_same_files(season):
    home = season["home"]
    before = hashes(home, DAY)
    publish_marts(home, DAY)
    assert hashes(home, DAY) == before
    assert not list(home.marts.rglob(".new*"))


@pytest.mark.prove  # many days, 23 s
def test_months_before_the_last_one_are_one_file_each_and_a_later_change_is_a_further_one(
    home: Settings,
):
    """An import of years of history makes some files a year, not one a day.

    An outcome that names a lead which arrives a day later counts from then on.
    """
    product = {"institution_id": "bank", "product_id": "loan"}
    days = [date(2025, 11, 3), date(2025, 11, 20), date(2026, 2, 3), date(2026, 2, 4)]
    for day in days:
        lead = {"channel_id": "search", "lead_id": f"{day}"}
        write_day(home, day, leads=[lead], products=[product], outcomes=[answer(lead, day)])
    ann = {"channel_id": "search", "lead_id": "ann"}
    write_day(home, FIRST, outcomes=[answer(ann, FIRST)], products=[product])
    build_all(home, FIRST)
    for name in ("outcomes", "training_pairs"):
        assert periods(home, FIRST, name) == ["2025-11", "2026-02-03", "2026-02-04"]
        assert read_mart(folder(home, FIRST), name).num_rows == len(days)
    later = FIRST + ONE
    write_day(home, later, leads=[ann])
    build_all(home, later)
    assert read_mart(folder(home, FIRST), "outcomes").num_rows == len(days)
    known = read_mart(folder(home, later), "outcomes")["lead_id"].to_pylist()
    assert sorted(known) == sorted([*map(str, days), "ann"])
    assert read_mart(folder(home, FIRST), "unlinked_outcomes").num_rows == 1
    assert read_mart(folder(home, later), "unlinked_outcomes").num_rows == 0


def answer(lead: Row, day: date) -> Row:
    """Return an approval of a lead, recorded on `day`."""
    product = {"institution_id": "bank", "product_id": "loan"}
    recorded = {"event": "approved", "recorded_at": at(f"{day} 09:00")}
    return product | lead | recorded | {"history_kind": "simulate"}


def periods(home: Settings, day: date, name: str) -> list[str]:
    return [Path(path).parent.name for path in list_mart_files(folder(home, day), name)]


@pytest.mark.parametrize("damage", [b"torn", None])
def test_a_damaged_shared_file_is_found_and_written_again(
    season, tmp_path: Path, damage: bytes | None
):
    home = season["home"]
    path = list_shared_files(folder(home, DAY))[0]
    before = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage)
    assert [found for found, _ in find_changed_files(folder(home, DAY))] == [path]
    publish_marts(home, DAY)
    assert path.read_bytes() == before


def test_a_mart_of_an_older_code_is_a_clear_error(season):
    with pytest.raises(InputMissing, match=r"no mart forecasts.*Run the step `transform`"):
        list_mart_files(folder(season["home"], DAY), "forecasts")


@pytest.mark.prove  # tests/e2e/test_upgrade.py has a home of that version
def test_a_replay_of_a_day_of_version_1_writes_its_form(season):
    home = season["home"]
    write_json(home.ledger / schema_version.REPLAY, {"schema_version": 1})
    try:
        publish_marts(home, DAY)
        names = {path.stem for path in folder(home, DAY).glob("*.parquet")}
        assert names == set(SORT_KEYS)
        assert schema_version.is_whole(folder(home, DAY))
        for name, table in season["whole"][DAY].items():
            stored = read_mart(folder(home, DAY), name)
            assert sort_rows(stored).equals(sort_rows(table.cast(stored.schema)))
    finally:
        (home.ledger / schema_version.REPLAY).unlink()
        publish_marts(home, DAY)
