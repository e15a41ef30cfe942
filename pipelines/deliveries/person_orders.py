"""Orders against the persons of the matched leads: by identity number, phone or lead."""

from datetime import date, timedelta
from pathlib import Path

import duckdb

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import create_files_view, create_known_view, run_query
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"


def load_person_orders(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, as_of: date
) -> None:
    """Create `lake_leads` (of table `matches`), `related_leads` and `suppression_orders`.

    The leads are of `day`, the orders known by the end of `as_of`. Both serve the
    deliveries to all institutions.
    """
    connection.execute(
        """
        create or replace table lake_leads as
        from read_parquet($leads, hive_partitioning = false)
        where (channel_id, lead_id) in (select (channel_id, lead_id) from matches)
        """,
        {"leads": str(settings.day_folder(settings.lake / "leads", day) / "leads.parquet")},
    )
    identity = policy.identity(day)
    firms = identity.firms_of_one_owner
    for name, days in (
        ("recent_leads", identity.same_person_days),
        ("owner_leads", firms.window_days),
    ):
        _create_leads_view(connection, settings, name, day - timedelta(days=days), as_of)
    limits = {"are_one": firms.are == "one", "max_firms": firms.max_firms}
    run_query(connection, SQL / "joining_owners.sql", limits)
    run_query(connection, SQL / "numbered_leads.sql")
    run_query(connection, SQL / "related_leads.sql")
    create_known_view(connection, settings, "suppressions", as_of)
    run_query(connection, SQL / "suppression_orders.sql")


def _create_leads_view(
    connection: duckdb.DuckDBPyConnection, settings: Settings, name: str, first: date, last: date
) -> None:
    """Create a view of the partitions of leads between two dates."""
    files = [
        str(folder / "leads.parquet")
        for folder in sorted((settings.lake / "leads").glob("date=*"))
        if f"date={first}" <= folder.name <= f"date={last}"
    ]
    create_files_view(connection, name, files, load("leads").lake_schema)
