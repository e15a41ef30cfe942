"""Each shock of a simulated market shows in the drift of its own group within three days.

Here the landed files stand for the marts, without what dbt derives of them, so that it takes
seconds; `tests/e2e/test_shocks.py` plays the whole of it.
"""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.drift import drift
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.shocks import CHANNEL_TURNS_BAD, PRICE_CAP, SECTOR_FALLS, Shock
from tests.helpers.drifted_home import filled, republish
from tests.helpers.mart_schemas import SCHEMAS

FIRST = date(2026, 3, 2)
STRUCK = FIRST + timedelta(days=4)
DAYS = [FIRST + timedelta(days=number) for number in range(7)]
READ = {
    ".csv": "read_csv({}, all_varchar = true, union_by_name = true)",
    ".csv.gz": "read_csv({}, all_varchar = true, union_by_name = true)",
    ".jsonl": "read_json({}, format = 'newline_delimited', union_by_name = true)",
    ".jsonl.gz": "read_json({}, format = 'newline_delimited', union_by_name = true)",
    ".parquet": "read_parquet({}, union_by_name = true)",
}


def landed(home: Path, feed: str, day: date) -> pa.Table:
    """Return what lies under `landing/feed` for `day`, as the mart of the same name has it."""
    parts = []
    for suffix, read in READ.items():
        files = sorted(home.glob(f"landing/{feed}/*/{day}/{feed}{suffix}"))
        for file in map(str, files):
            source = file.split("/")[-3]
            rows = duckdb.sql(f"select *, '{source}' as source from {read.format(f'{[file]}')}")
            table = rows.to_arrow_table()
            key = "channel_id" if feed == "leads" else "institution_id"
            columns = dict(zip(table.column_names, table.columns, strict=True))
            parts.append(filled(SCHEMAS[feed], known(feed, columns | {key: table["source"]})))
    return pa.concat_tables(parts)


def known(feed: str, columns: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Return the columns that the mart has as they come; lists are no part of it here."""
    fields = {field.name: field.type for field in SCHEMAS[feed]}
    return {
        name: column
        for name, column in columns.items()
        if name in fields and not pa.types.is_list(fields[name]) and "_at" not in name
    }


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of a market in which three shocks come on one day."""
    settings = Settings(home=tmp_path_factory.mktemp("market"))
    shocks = tuple(Shock(name, STRUCK) for name in (CHANNEL_TURNS_BAD, PRICE_CAP, SECTOR_FALLS))
    size = {"leads_per_day": 3000, "institutions": 8, "channels": 4, "seed": 1}
    simulate(
        settings, SimulationPlan(start=FIRST, days=len(DAYS), corruption=0.0, shocks=shocks, **size)
    )
    products = landed(settings.home, "products", FIRST)
    for day in DAYS:
        if list(settings.home.glob(f"landing/products/*/{day}")):
            newer = landed(settings.home, "products", day)
            sent = set(newer["institution_id"].to_pylist())
            is_kept = [name not in sent for name in products["institution_id"].to_pylist()]
            products = pa.concat_tables([products.filter(pa.array(is_kept)), newer])
        is_open = pa.array([status == "active" for status in products["status"].to_pylist()])
        place = products.schema.get_field_index("is_open")
        tables = {name: SCHEMAS[name].empty_table() for name in SCHEMAS}
        tables |= {
            "leads": landed(settings.home, "leads", day),
            "products": products.set_column(place, products.schema.field(place), is_open),
        }
        republish(settings.day_folder(settings.marts, day), tables)
    return settings


def told(settings: Settings, day: date, *states: str) -> set[tuple[str, str, str]]:
    return {
        (figure.what, figure.grouping, figure.group)
        for figure in drift(settings, day).figures
        if figure.state in (states or ("drift",))
    }


def test_nothing_is_told_before(market: Settings):
    assert [told(market, day) for day in DAYS if day < STRUCK] == [set()] * 4


def test_a_price_cap_is_told_on_its_day(market: Settings):
    assert told(market, STRUCK) >= {("annual cost", "all", ""), ("highest annual cost", "all", "")}


def test_a_channel_that_turns_bad_is_told_within_three_days(market: Settings):
    """Its invented phones, which make it drift, are known only once leads are taken in."""
    found = told(market, DAYS[-1], "watch", "drift")
    assert {group for _, grouping, group in found if grouping == "channel"} == {"search-01"}
    assert ("bureau_score", "channel", "search-01") in found


def test_a_sector_that_falls_is_told_within_three_days(market: Settings):
    found = told(market, DAYS[-1])
    assert {group for _, grouping, group in found if grouping == "industry"} == {"F"}
    assert ("tax_paid_annual", "industry", "F") in found
