"""A matched day written by hand, as the steps before the scorecard would publish it."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.matches.match_day import SCHEMA as MATCHES
from tests.helpers.lake import DEFAULTS
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts

DAY = date(2026, 2, 3)
Row = dict[str, Any]

LEAD: Row = {
    "business_date": DAY,
    "segment": "consumer",
    "currency": "CNY",
    "term_months": 12,
    "consent_scope": ["all"],
}
PRODUCT: Row = DEFAULTS["products"] | {"institution_kind": "bank", "is_open": True}


def write_market(
    home: Path,
    leads: Iterable[Row],
    products: Iterable[Row],
    matches: list[Row],
    costs: dict[str, float],
    shared_phones: Iterable[Row] = (),
) -> Settings:
    """Publish marts and matches of `DAY`; a row has only the columns that matter to the test.

    Args:
        costs: Cost per lead before the day, by channel.
        shared_phones: Leads of one phone, as the mart has them.
    """
    channels = [
        {"channel_id": name, "cost_per_lead": cost, "currency": "CNY"}
        for name, cost in costs.items()
    ]
    settings = write_marts(
        home,
        DAY,
        leads_table=_table([LEAD | row for row in leads], SCHEMAS["leads"]),
        products_table=_table([PRODUCT | row for row in products], SCHEMAS["products"]),
        channels=_table(channels, SCHEMAS["channels"]),
        shared_phones=_table(list(shared_phones), SCHEMAS["shared_phones"]),
    )
    publish_matches(settings, matches)
    return settings


def publish_matches(settings: Settings, matches: list[Row]) -> None:
    """Publish the matches of `DAY`; earlier ones are replaced."""
    with publishing(settings.day_folder(settings.matches, DAY), {}) as folder:
        write_parquet(_table(matches, MATCHES), folder / "matches.parquet")


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    known = [{name: row[name] for name in schema.names if name in row} for row in rows]
    return pa.Table.from_pylist(known, schema)
