"""The outcomes that count: the one relation that everything after dbt reads.

The lake has every outcome that was sent, also claims about leads that a lender did not receive. The
mart `outcomes` of a date has the ones that count, as known at the end of that date. Training and
drift read the mart of their own date; an evaluation of earlier dates reads it through here.
"""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from pipelines.core.errors import InputMissing
from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings

MART = "outcomes"


def create_counted_outcomes_view(
    connection: duckdb.DuckDBPyConnection, settings: Settings, known_by: date
) -> None:
    """Create the view `outcomes`: the outcomes that count, as known at the end of `known_by`.

    They are the mart of the newest date up to `known_by` of which marts are published, so outcomes
    that no run has judged yet don't count.

    Raises:
        InputMissing: No marts are published up to `known_by`, or an earlier version made them.
    """
    marts = find_marts(settings, known_by)
    if marts is None:
        raise InputMissing(
            f"No marts up to {known_by} are published, so no outcome counts yet. Nothing was done. "
            "Run a date first: python -m pipelines run --date DATE"
        )
    files = list_mart_files(marts, MART)
    if "currency" not in pq.read_schema(files[0]).names:
        raise InputMissing(
            f"{files[0]} has no column `currency`: an earlier version made it. Nothing was done. "
            "Run the step `transform` for the date, then the steps after it."
        )
    connection.read_parquet(files, hive_partitioning=False).create_view(MART, replace=True)


def find_marts(settings: Settings, known_by: date) -> Path | None:
    """Return the marts of the newest published date up to `known_by`; None if there are none."""
    last = settings.day_folder(settings.marts, known_by)
    published = (
        folder
        for folder in sorted(last.parent.glob("date=*"), reverse=True)
        if folder <= last and (folder / MANIFEST).is_file()
    )
    return next(published, None)
