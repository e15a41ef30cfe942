"""Acquisition cost: what channels cost by lead, approval and funded loan, by month of capture."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from pipelines.core.database import run_query
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True)
class AcquisitionCost:
    """Spend and results of one group of leads; money in `currency`."""

    name: str
    cohort: str
    """Month of capture, YYYY-MM."""
    leads: float
    """Each lead is split evenly over its deliveries, so that groups add up."""
    delivered: int
    approved: int
    funded: int
    spend: float | None
    cost_per_lead: float | None
    cost_per_approval: float | None
    cost_per_funded: float | None
    share_of_yield: float | None
    currency: str | None


@dataclass(frozen=True)
class Acquisition:
    """The acquisition costs of the months of capture that the day's marts have."""

    channels: tuple[AcquisitionCost, ...] = ()
    institutions: tuple[AcquisitionCost, ...] = ()


def load_acquisition(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Acquisition:
    """Return the costs by channel and by institution, newest month first.

    Raises:
        FileNotFoundError: The day's marts have no such table; an earlier version published them.
    """
    path = settings.day_folder(settings.marts, day) / "fct_acquisition_cost.parquet"
    if not path.is_file():
        raise FileNotFoundError(path)
    groups = {
        name: run_query(
            connection, SQL / "acquisition_cost.sql", {"costs": str(path), "by": column}
        ).fetchall()
        for name, column in (("channels", "channel_id"), ("institutions", "institution_id"))
    }
    return Acquisition(
        **{name: tuple(AcquisitionCost(*row) for row in rows) for name, rows in groups.items()}
    )
