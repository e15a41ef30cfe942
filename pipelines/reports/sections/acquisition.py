"""Acquisition cost: what channels cost by lead, approval and funded loan, by month of capture."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from pipelines.core.database import run_query
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"
TABLE = "fct_acquisition_cost"


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

    @property
    def months(self) -> list[str]:
        """Return the months of capture, newest first; each has a page."""
        return sorted({row.cohort for row in self.channels}, reverse=True)


def load_acquisition(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> Acquisition:
    """Return the costs by channel and by institution, newest month first.

    Raises:
        FileNotFoundError: The day's marts have no such table; an earlier version published them.
    """
    path = settings.day_folder(settings.marts, day) / f"{TABLE}.parquet"
    if not path.is_file():
        raise FileNotFoundError(path)
    return Acquisition(
        channels=load_costs(connection, path, "channel"),
        institutions=load_costs(connection, path, "institution"),
    )


def load_costs(
    connection: duckdb.DuckDBPyConnection, path: Path, by: str, cohort: str | None = None
) -> tuple[AcquisitionCost, ...]:
    """Return the costs by month of capture and group, newest month and greatest spend first.

    Args:
        connection: A connection.
        path: The table of the marts.
        by: month, channel, campaign, institution or product.
        cohort: The month of capture (YYYY-MM); None: all.
    """
    parameters = {"costs": str(path), "by": by, "cohort": cohort}
    rows = run_query(connection, SQL / "acquisition_cost.sql", parameters).fetchall()
    return tuple(AcquisitionCost(*row) for row in rows)
