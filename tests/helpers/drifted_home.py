"""Published days of a small market, without a change or with one."""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.matches.match_day import SCHEMA as MATCHES
from pipelines.pairs.valuation import PAIR_SCHEMA as PAIRS
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts

LAST = date(2026, 11, 20)
DAYS = [LAST - timedelta(days=back) for back in reversed(range(12))]
CHANGED_DAYS = DAYS[-3:]
"""Days with the planted change."""
MODELS = "2026-11-09:abc"
CHANNEL, INDUSTRY, INSTITUTION = "channel-2", "C", "bank-003"
INDUSTRIES = ("C", "F", "G")

Change = Callable[[pa.Table], pa.Table]


def publish_steady_days(home: Path) -> Settings:
    """Publish `DAYS` below `home`, all similar."""
    for number, day in enumerate(DAYS):
        write_marts(home, day, leads=1200, products=24, pairs=10, seed=100 + number)
        tables = read_marts(home, day)
        quota = pa.array(np.full(tables["products"].num_rows, 20))
        tables["products"] = replace_column(tables["products"], "daily_quota", quota)
        tables["leads"] = add_industries(tables["leads"], number)
        republish(home / "marts" / f"date={day}", tables)
        publish_scores(home, day, tables["leads"], MODELS)
    return Settings(home=home)


def publish_changed_days(
    steady: Settings, home: Path, models: str = MODELS, **changes: Change
) -> Settings:
    """Copy `steady` to `home` and apply `changes`, by table, on `CHANGED_DAYS`."""
    shutil.copytree(steady.home, home)
    for day in CHANGED_DAYS:
        tables = read_marts(home, day)
        tables |= {name: change(tables[name]) for name, change in changes.items()}
        republish(home / "marts" / f"date={day}", tables)
        publish_scores(home, day, tables["leads"], models)
    return Settings(home=home)


def read_marts(home: Path, day: date) -> dict[str, pa.Table]:
    folder = home / "marts" / f"date={day}"
    return {path.stem: pq.read_table(path) for path in folder.glob("*.parquet")}


def add_industries(leads: pa.Table, seed: int) -> pa.Table:
    """Return `leads` with an industry, revenue and tax of each business."""
    random = np.random.default_rng(seed)
    is_person = np.array(leads["segment"].to_pylist()) == "consumer"
    industry = random.choice(INDUSTRIES, leads.num_rows)
    revenue = np.round(random.lognormal(14, 0.8, leads.num_rows))
    leads = replace_column(leads, "industry", pa.array(industry, mask=is_person))
    return replace_column(leads, "revenue_annual", pa.array(revenue, mask=is_person))


def publish_scores(home: Path, day: date, leads: pa.Table, models: str) -> None:
    """Publish one pair of each lead, scored by its bureau score."""
    score = np.nan_to_num(pc.cast(leads["bureau_score"], pa.float64()).to_numpy(), nan=500)
    columns = {
        "channel_id": leads["channel_id"],
        "lead_id": leads["lead_id"],
        "pd": (900 - score) / 3000,
        "p_approve": score / 1000,
        "p_fund": np.full(len(score), 0.5),
    }
    republish(home / "pairs" / f"date={day}", {"pairs": fill_schema(PAIRS, columns)}, models=models)


def publish_decided_days(
    home: Path,
    p_approve: Callable[[date, str], float],
    predicted: float = 0.4,
    days_to_approval: int = 1,
) -> Settings:
    """Publish matches with their decisions, and the marts of `LAST`.

    Args:
        home: Where the days are published.
        p_approve: The true probability, by the date of the match and the institution; not a number
            where the institution does not decide.
        predicted: The probability that the models predicted.
        days_to_approval: Days after which an approval is known; a decline is known the day after.
    """
    random = np.random.default_rng(5)
    pairs, outcomes = [], []
    for day in DAYS:
        institutions = [f"bank-{n:03d}" for n in range(12) for _ in range(60)]
        count = len(institutions)
        keys = {
            "channel_id": [f"channel-{n % 4}" for n in range(count)],
            "lead_id": [f"{day}-{n}" for n in range(count)],
            "institution_id": institutions,
            "product_id": [f"{name}-loan" for name in institutions],
        }
        scored = keys | {"p_approve": np.full(count, predicted)}
        republish(home / "matches" / f"date={day}", {"matches": fill_schema(MATCHES, scored)})
        chance = np.array([p_approve(day, name) for name in institutions])
        noon = Settings(home=home).day_start(day) + timedelta(hours=12)
        is_approved = random.random(count) < chance
        wait = np.where(is_approved, days_to_approval, 1)
        known = [noon + timedelta(days=int(days)) for days in wait]
        events = np.where(is_approved, "approved", "declined")
        times = dict.fromkeys(("event_at", "recorded_at", "known_at"), known)
        is_known = ~np.isnan(chance) & (wait <= (LAST - day).days)
        if day < LAST:
            events_of_day = fill_schema(SCHEMAS["outcomes"], keys | times | {"event": events})
            outcomes.append(events_of_day.filter(pa.array(is_known)))
            pairs.append(
                fill_schema(SCHEMAS["training_pairs"], keys | {"business_date": [day] * count})
            )
    return write_marts(
        home, LAST, outcomes=pa.concat_tables(outcomes), training_pairs=pa.concat_tables(pairs)
    )


def fill_schema(schema: pa.Schema, columns: dict[str, object]) -> pa.Table:
    """Return a table of `schema`; a column that is not in `columns` is empty."""
    given = pa.table(columns)
    arrays = [
        given[field.name].cast(field.type)
        if field.name in columns
        else pa.nulls(given.num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def replace_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """Return `table` with new `values` of one column."""
    position = table.schema.get_field_index(name)
    field = table.schema.field(name)
    return table.set_column(position, field, values.cast(field.type))


def change_where(table: pa.Table, name: str, value: str, column: str, change: Callable) -> pa.Table:
    """Return `table` with `column` changed in the rows whose `name` is `value`."""
    is_match = pc.fill_null(pc.equal(table[name], value), fill_value=False)
    return replace_column(table, column, pc.if_else(is_match, change(table[column]), table[column]))


def republish(folder: Path, tables: dict[str, pa.Table], **facts: str) -> None:
    with publishing(folder, facts) as fresh:
        for name, table in tables.items():
            write_parquet(table, fresh / f"{name}.parquet")
