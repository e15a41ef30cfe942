"""Each shock of a simulated market drifts under its own group within three days.

The landed files are used as marts, without what dbt derives from them, so that the test takes
seconds; `tests/e2e/test_shocks.py` runs the whole pipeline.
"""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines.core.settings import Settings
from pipelines.evaluation.drift import measure_drift
from pipelines.simulate import SimulationPlan, simulate
from pipelines.simulate.shocks import CHANNEL_TURNS_BAD, PRICE_CAP, SECTOR_FALLS, Shock
from tests.helpers.drifted_home import fill_schema, republish
from tests.helpers.mart_schemas import SCHEMAS

FIRST = date(2026, 3, 2)
SHOCK_DAY = FIRST + timedelta(days=4)
DAYS = [FIRST + timedelta(days=number) for number in range(7)]
READ = {
    ".csv": "read_csv({}, all_varchar = true, union_by_name = true)",
    ".csv.gz": "read_csv({}, all_varchar = true, union_by_name = true)",
    ".jsonl": "read_json({}, format = 'newline_delimited', union_by_name = true)",
    ".jsonl.gz": "read_json({}, format = 'newline_delimited', union_by_name = true)",
    ".parquet": "read_parquet({}, union_by_name = true)",
}


def load_landed(home: Path, feed: str, day: date) -> pa.Table:
    """Return the landed files of `feed` for `day` in the schema of the mart of the same name."""
    parts = []
    for suffix, read in READ.items():
        files = sorted(home.glob(f"landing/{feed}/*/{day}/{feed}{suffix}"))
        for file in map(str, files):
            source = file.split("/")[-3]
            rows = duckdb.sql(f"select *, '{source}' as source from {read.format(f'{[file]}')}")
            table = rows.to_arrow_table()
            key = "channel_id" if feed == "leads" else "institution_id"
            columns = dict(zip(table.column_names, table.columns, strict=True))
            parts.append(
                fill_schema(SCHEMAS[feed], mart_columns(feed, columns | {key: table["source"]}))
            )
    return pa.concat_tables(parts)


def mart_columns(feed: str, columns: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Return the columns that the mart has unchanged, without lists."""
    fields = {field.name: field.type for field in SCHEMAS[feed]}
    return {
        name: column
        for name, column in columns.items()
        if name in fields and not pa.types.is_list(fields[name]) and "_at" not in name
    }


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of a market with three shocks on one day."""
    settings = Settings(home=tmp_path_factory.mktemp("market"))
    shocks = tuple(Shock(name, SHOCK_DAY) for name in (CHANNEL_TURNS_BAD, PRICE_CAP, SECTOR_FALLS))
    size = {"leads_per_day": 3000, "institutions": 8, "channels": 4, "seed": 1}
    simulate(
        settings, SimulationPlan(start=FIRST, days=len(DAYS), corruption=0.0, shocks=shocks, **size)
    )
    products = load_landed(settings.home, "products", FIRST)
    for day in DAYS:
        if list(settings.home.glob(f"landing/products/*/{day}")):
            newer = load_landed(settings.home, "products", day)
            sent = set(newer["institution_id"].to_pylist())
            is_unchanged = [name not in sent for name in products["institution_id"].to_pylist()]
            products = pa.concat_tables([products.filter(pa.array(is_unchanged)), newer])
        is_open = pa.array([status == "active" for status in products["status"].to_pylist()])
        position = products.schema.get_field_index("is_open")
        tables = {name: SCHEMAS[name].empty_table() for name in SCHEMAS}
        tables |= {
            "leads": load_landed(settings.home, "leads", day),
            "products": products.set_column(position, products.schema.field(position), is_open),
        }
        republish(settings.day_folder(settings.marts, day), tables)
    return settings


def drifting(settings: Settings, day: date, *states: str) -> set[tuple[str, str, str]]:
    return {
        (figure.measure, figure.grouping, figure.group)
        for figure in measure_drift(settings, day).figures
        if figure.state in (states or ("drift",))
    }


def test_nothing_drifts_before_the_shocks(market: Settings):
    assert [drifting(market, day) for day in DAYS if day < SHOCK_DAY] == [set()] * 4


def test_a_price_cap_drifts_on_its_day(market: Settings):
    assert drifting(market, SHOCK_DAY) >= {
        ("annual cost", "all", ""),
        ("highest annual cost", "all", ""),
    }


def test_a_channel_that_deteriorates_drifts_within_three_days(market: Settings):
    """Its invented phones, which make it drift, are known only after ingest."""
    found = drifting(market, DAYS[-1], "watch", "drift")
    assert {group for _, grouping, group in found if grouping == "channel"} == {"search-01"}
    assert ("bureau_score", "channel", "search-01") in found


def test_a_falling_sector_drifts_within_three_days(market: Settings):
    found = drifting(market, DAYS[-1])
    assert {group for _, grouping, group in found if grouping == "industry"} == {"F"}
    assert ("tax_paid_annual", "industry", "F") in found
