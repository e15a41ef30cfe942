"""Build the marts that models and matching read from the checked rows of the lake, with dbt.

`lake/` → staging → intermediate → features → marts in the warehouse → `marts/date=D/`
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from pipelines.core.database import connect, read_query
from pipelines.core.home.schema_version import SHARED_MARTS, find_written_version
from pipelines.core.home.shared_marts import PERIOD, write_shared_marts
from pipelines.core.publishing import hash_mart_inputs, publishing, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.transform.outcome_findings import find_outcome_problems
from pipelines.transform.warehouse import LAYERS, build, require_built

SORT_KEYS = {
    "leads": "channel_id, lead_id",
    "products": "institution_id, product_id",
    "product_rules": "all",
    "product_fees": "all",
    "training_pairs": "channel_id, lead_id, institution_id, product_id",
    "outcomes": "all",
    "unlinked_outcomes": "all",
    "outcome_receipts": "all",
    "sudden_changes": "all",
    "channels": "channel_id",
    "earlier_offers": "all",
    "shared_phones": "channel_id, lead_id",
    "loan_book": "channel_id, lead_id, institution_id, product_id",
    "lead_contradictions": "channel_id, lead_id, contradiction",
    "fct_acquisition_cost": "all",
}
"""Mart -> the columns that its rows are sorted by: its key, or all columns if it has none."""

GROWING = ("training_pairs", "outcomes", "unlinked_outcomes", "sudden_changes")
"""Marts with all that is known so far; `sql/known_NAME.sql` dates their rows. Days share them."""

SQL = Path(__file__).parent / "sql"

COUNTS = {
    "leads_to_match": "select count(*) from leads where exclusion_stage is null",
    "products_open": "select count(*) from products where is_open",
}
GROUPS = {
    "leads_excluded": ("leads", "exclusion_stage"),
    "products_closed": ("products", "closed_reason"),
    "outcomes_unlinked": ("unlinked_outcomes", "unlinked_reason"),
}


def transform(settings: Settings, day: date) -> dict[str, Any]:
    """Build every layer in order and publish the marts; return the counts of the marts."""
    for layer in LAYERS[:-1]:
        build_layer(settings, day, layer)
    return build_marts(settings, day)


def build_layer(settings: Settings, day: date, layer: str) -> dict[str, int]:
    """Build and test one layer as of `day`; return the number of tables and tests.

    Raises:
        InputMissing: The leads of `day` are not ingested, or an earlier layer is not built.
        IntegrityError: A table or a test failed; nothing is published.
    """
    read_manifest(settings.day_folder(settings.lake / "leads", day))
    return build(settings, day, layer)


def build_marts(settings: Settings, day: date) -> dict[str, Any]:
    """Build the last layer and publish it as `marts/date=D/`; return the counts of both."""
    return build_layer(settings, day, "marts") | publish_marts(settings, day)


def publish_marts(settings: Settings, day: date) -> dict[str, Any]:
    """Publish the marts of `day` from the warehouse; return their counts.

    Raises:
        InputMissing: A layer is not built as of `day`.
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
        counts = facts["counts"] = _count_marts(connection)
        facts["rows"] = sum(counts[name] for name in SORT_KEYS)
        facts["findings"] = [
            *find_outcome_problems(connection, day),
            *_list_shared_numbers(connection, day),
            *_list_unproven_consents(connection),
        ]
        with publishing(settings.day_folder(settings.marts, day), facts) as folder:
            shared = GROWING if find_written_version(settings) >= SHARED_MARTS else ()
            for name, order in SORT_KEYS.items():
                if name not in shared:
                    rows = connection.sql(f"select * from {name} order by {order}")
                    write_parquet(rows.to_arrow_table(), folder / f"{name}.parquet")
            if shared:
                tables = {name: _load_by_period(connection, settings, day, name) for name in shared}
                write_shared_marts(folder, tables)
    return counts


def _load_by_period(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, name: str
) -> pa.Table:
    """Return the rows of a growing mart with the period in which each became known, in its order.

    A period is a date of this month or the last one, or an earlier month: so each row is stored
    twice, and the files of a day are some sixty and twelve a year.
    """
    known = read_query(SQL / f"known_{name}.sql")
    order = "all" if SORT_KEYS[name] == "all" else f"{PERIOD}, {SORT_KEYS[name]}"
    this_month = day.replace(day=1)
    parameters: dict[str, Any] = {"daily_since": (this_month - timedelta(days=1)).replace(day=1)}
    if "$time_zone" in known:
        parameters["time_zone"] = settings.time_zone
    query = f"""
        select
            if(
                stored_on >= $daily_since, strftime(stored_on, '%Y-%m-%d'),
                strftime(stored_on, '%Y-%m')
            ) as {PERIOD},
            * exclude (stored_on)
        from ({known})
        order by {order}
    """
    return connection.sql(query, params=parameters).to_arrow_table()


def _count_marts(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the number of rows of each mart, and the counts by group for the report."""
    counts: dict[str, Any] = {
        name: _query_count(connection, f"select count(*) from {name}") for name in SORT_KEYS
    }
    counts |= {name: _query_count(connection, query) for name, query in COUNTS.items()}
    for name, (table, column) in GROUPS.items():
        query = f"select {column}, count(*) from {table} where {column} is not null group by all"
        counts[name] = dict(sorted(connection.execute(query).fetchall()))
    return counts


def _list_shared_numbers(connection: duckdb.DuckDBPyConnection, day: date) -> list[dict[str, Any]]:
    """Return the findings on numbers with more phones, or firms, than a person has, by channel."""
    rows = connection.execute(
        """
        select 'identity_number_shared', count(distinct id_key),
            list(distinct channel_id order by channel_id)
        from int_persons
        where is_crowded and business_date = $day
        having count(*) > 0
        union all
        select 'owner_number_shared', count(distinct owner_id_number_sha256),
            list(distinct channel_id order by channel_id)
        from int_persons
        where is_owner_crowded and business_date = $day
        having count(*) > 0
        """,
        {"day": day},
    ).fetchall()
    return [
        {"id": finding, "count": numbers, "sources": channels}
        for finding, numbers, channels in rows
    ]


def _list_unproven_consents(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Return the findings on leads whose consent is not proven by its text or role, by channel."""
    rows = connection.execute(
        """
        select exclusion_detail, count(*), list(distinct channel_id order by channel_id)
        from leads
        where
            exclusion_detail in (
                'consent_text_contradicts', 'consent_text_unknown', 'consent_role_missing',
                'consent_role_not_allowed', 'consent_role_unknown'
            )
        group by exclusion_detail
        order by exclusion_detail
        """
    ).fetchall()
    return [{"id": detail, "count": leads, "sources": channels} for detail, leads, channels in rows]


def _query_count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
