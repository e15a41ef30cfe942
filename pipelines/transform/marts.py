"""Publish `marts/date=D/`: the tables that dbt hands on to models and matching, as Parquet."""

from datetime import date
from typing import Any

import duckdb

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.publishing import hash_mart_inputs, publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.transform.warehouse import LAYERS, require_built

KEYS = {
    "leads": "channel_id, lead_id",
    "products": "institution_id, product_id",
    "product_rules": "all",
    "training_pairs": "channel_id, lead_id, institution_id, product_id",
    "outcomes": "all",
    "unlinked_outcomes": "all",
    "channels": "channel_id",
    "earlier_offers": "all",
}
"""Mart -> what its rows are sorted by: its key, or every column where it has none."""

COUNTS = {
    "leads_to_match": "select count(*) from leads where exclusion_stage is null",
    "products_open": "select count(*) from products where is_open",
}
GROUPS = {
    "leads_excluded": ("leads", "exclusion_stage"),
    "products_closed": ("products", "closed_reason"),
    "outcomes_unlinked": ("unlinked_outcomes", "unlinked_reason"),
}


def export(settings: Settings, day: date) -> dict[str, Any]:
    """Publish the marts of `day` from the warehouse; return their counts.

    Raises:
        InputMissing: The warehouse doesn't hold every layer as of `day`.
    """
    require_built(settings, day, *LAYERS)
    facts: dict[str, Any] = {
        "business_date": f"{day:%Y-%m-%d}",
        "policy_version": policy.version(),
        "inputs": hash_mart_inputs(settings, day),
    }
    with connect(settings) as connection:
        path = str(settings.warehouse).replace("'", "''")
        connection.execute(f"attach '{path}' as warehouse (read_only)")
        connection.execute("use warehouse")
        counts = facts["counts"] = _counts(connection)
        with publishing(settings.day_folder(settings.marts, day), facts) as folder:
            for name, order in KEYS.items():
                rows = connection.sql(f"select * from {name} order by {order}")
                write_parquet(rows.to_arrow_table(), folder / f"{name}.parquet")
    return counts


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the rows of each mart, and the counts that a report splits them by."""
    counts: dict[str, Any] = {
        name: _one(connection, f"select count(*) from {name}") for name in KEYS
    }
    counts |= {name: _one(connection, query) for name, query in COUNTS.items()}
    for name, (table, column) in GROUPS.items():
        query = f"select {column}, count(*) from {table} where {column} is not null group by all"
        counts[name] = dict(sorted(connection.execute(query).fetchall()))
    return counts


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
