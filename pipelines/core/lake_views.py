"""What the lake knew of a feed by the end of a business date, whatever came in later."""

from datetime import date

import duckdb

from expectations.contracts import load
from pipelines.core.settings import Settings


def create_known_view(
    connection: duckdb.DuckDBPyConnection, settings: Settings, feed: str, day: date
) -> None:
    """Create view `feed` of all rows taken in for `day` or before; empty if there are none."""
    last = settings.of_day(settings.lake / feed, day)
    files = [
        str(folder / f"{feed}.parquet")
        for folder in sorted(last.parent.glob("date=*"))
        if folder <= last
    ]
    if files:
        connection.read_parquet(files, hive_partitioning=False).create_view(feed)
    else:
        connection.register(feed, load(feed).lake_schema.empty_table())
