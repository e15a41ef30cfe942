"""What the leads of each month of capture cost the channels' spend.

The outcomes of a month keep coming in, so its figures are read from the newest marts that have the
month. Its totals are kept in `reports/months/months.json`, for marts that no longer have it.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import duckdb

from pipelines.core.database import connect
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.translation import text
from pipelines.reports.sections.acquisition import TABLE, AcquisitionCost, load_costs

SUMMARIES = "months.json"
VERSION = 1
"""Version of the summaries; the ones of another version are made again."""
GROUPS = {
    "channel": text("By channel"),
    "campaign": text("By campaign"),
    "institution": text("By institution"),
    "product": text("By product"),
}
"""How a month is divided -> the heading; each is a value of `$by` in the query."""


@dataclass(frozen=True)
class MonthCost:
    """What a month of capture cost, as the marts of a date know it."""

    name: str
    """YYYY-MM."""
    as_of: str
    """The business date of the marts: what was known before it counts."""
    totals: tuple[AcquisitionCost, ...]
    """One row a currency, the greatest spend first."""

    @property
    def is_over(self) -> bool:
        """Return whether all its leads are known."""
        return self.as_of[:7] > self.name


def update_month_costs(settings: Settings) -> dict[str, MonthCost]:
    """Return what each month cost, oldest first, with the newest marts, and store it.

    If what was stored of earlier months is lost, the last marts of each month are read again.
    """
    path = settings.reports / "months" / SUMMARIES
    stored = _read_summaries(path)
    files = sorted(settings.marts.glob(f"date=*/{TABLE}.parquet"))
    if not files:
        return stored
    last_of_month = {file.parent.name[: len("date=YYYY-MM")]: file for file in files}
    months = dict(stored)
    with connect(settings) as connection:
        for file in files[-1:] if stored else last_of_month.values():
            months |= _load_months(connection, file)
    months = dict(sorted(months.items()))
    content = {name: asdict(month) for name, month in months.items()}
    write_json(path, {"version": VERSION, "months": content})
    return months


def load_cost_groups(settings: Settings, month: MonthCost) -> dict[str, list[AcquisitionCost]]:
    """Return the cost of a month by each of `GROUPS`; empty if its marts are no longer kept."""
    file = settings.day_folder(settings.marts, date.fromisoformat(month.as_of)) / f"{TABLE}.parquet"
    if not file.is_file():
        return {}
    with connect(settings) as connection:
        return {by: [*load_costs(connection, file, by, cohort=month.name)] for by in GROUPS}


def _load_months(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, MonthCost]:
    as_of = file.parent.name.removeprefix("date=")
    totals: dict[str, list[AcquisitionCost]] = {}
    for row in load_costs(connection, file, "month"):
        totals.setdefault(row.cohort, []).append(row)
    return {name: MonthCost(name, as_of, tuple(rows)) for name, rows in totals.items()}


def _read_summaries(path: Path) -> dict[str, MonthCost]:
    """Return the stored months; empty if there are none that this version can read."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        if stored["version"] != VERSION:
            return {}
        return {
            name: MonthCost(
                facts["name"],
                f"{date.fromisoformat(facts['as_of'])}",
                tuple(AcquisitionCost(**row) for row in facts["totals"]),
            )
            for name, facts in stored["months"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
