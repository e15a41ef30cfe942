"""A matched day written by hand, as the steps before the scorecard would publish it."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.matches.match import SCHEMA as MATCHES
from pipelines.pairs.scoring import SCHEMA as PAIRS
from pipelines.publish import publishing, write_parquet
from pipelines.settings import Settings
from tests.helpers.lake import DEFAULTS
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts

DAY = date(2026, 2, 3)
Row = dict[str, Any]

LEAD: Row = {"business_date": DAY, "segment": "consumer", "currency": "CNY", "term_months": 12}
PRODUCT: Row = DEFAULTS["products"] | {"institution_kind": "bank", "is_open": True}
PAIR_KEY = ("channel_id", "lead_id", "institution_id", "product_id")


def write_market(
    home: Path,
    leads: Iterable[Row],
    products: Iterable[Row],
    pairs: list[Row],
    matches: list[Row],
    costs: dict[str, float],
) -> Settings:
    """Publish marts, pairs and matches of `DAY`; a row says only what matters to the test.

    Args:
        costs: What a lead had cost before the day, by channel.
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
    )
    for root, rows, schema in (
        (settings.pairs, [LEAD | row for row in pairs], PAIRS),
        (settings.matches, matches, MATCHES),
    ):
        with publishing(settings.of_day(root, DAY), {}) as folder:
            write_parquet(_table(rows, schema), folder / f"{root.name}.parquet")
    return settings


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    known = [{name: row[name] for name in schema.names if name in row} for row in rows]
    return pa.Table.from_pylist(known, schema)
