"""Orders against the persons of the matched leads: by identity number, phone or lead."""

from datetime import date, timedelta
from pathlib import Path

import duckdb

from expectations import policy
from pipelines.core.database import create_known_view, run_query
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
    window = timedelta(days=policy.identity(day).same_person_days)
    folders = (settings.lake / "leads").glob("date=*")
    first, last = (
        settings.day_folder(settings.lake / "leads", end) for end in (day - window, as_of)
    )
    recent = [str(each / "leads.parquet") for each in sorted(folders) if first <= each <= last]
    connection.read_parquet(recent, hive_partitioning=False).create_view("recent_leads")
    run_query(connection, SQL / "related_leads.sql")
    create_known_view(connection, settings, "suppressions", as_of)
    run_query(connection, SQL / "suppression_orders.sql")
