"""The page of each month of capture: what its leads, approvals and loans cost the channels' spend.

The outcomes of a month keep coming in, so a page is written again with each report, from the newest
marts that have the month: `reports/months/YYYY-MM.html`. What the page of all days shows of each
month is in `reports/months/months.json`. None of them is part of a published day.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from pipelines.core.database import connect
from pipelines.core.formats import MONTHS, count, money, share
from pipelines.core.publishing import write_json
from pipelines.core.rendering.html import Tile, environment
from pipelines.core.settings import Settings
from pipelines.reports.sections.acquisition import TABLE, AcquisitionCost, load_costs

FOLDER, SUMMARIES = "months", "months.json"
TEMPLATES = Path(__file__).parent / "templates"
VERSION = 1
"""Version of the summaries; the ones of another version are made again."""
GROUPS = {
    "channel": "Channels",
    "campaign": "Campaigns",
    "institution": "Institutions",
    "product": "Products",
}
"""How a month is divided -> the heading; each is a value of `$by` in the query."""
FIRST_ROWS, MAX_ROWS = 25, 500
"""Rows of a table that are shown, and that the page has; the marts have all."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Month:
    """A month of capture as the marts of a date know it."""

    name: str
    """YYYY-MM."""
    as_of: str
    """The business date of the marts: what was known before it counts."""
    totals: tuple[AcquisitionCost, ...]
    """One row a currency, the greatest spend first."""

    @property
    def title(self) -> str:
        """Return the month in words."""
        year, month = self.name.split("-")
        return f"{MONTHS[int(month) - 1]} {year}"

    @property
    def is_over(self) -> bool:
        """Return whether all its leads are known."""
        return self.as_of[:7] > self.name


def write_month_pages(settings: Settings) -> dict[str, Month]:
    """Write the pages of the months that the newest marts have; return all months, oldest first.

    If what was stored of earlier months is lost, the last marts of each month are read again.
    """
    files = sorted(settings.marts.glob(f"date=*/{TABLE}.parquet"))
    stored = _read_summaries(settings.reports / FOLDER / SUMMARIES)
    if not files:
        return stored
    last_of_month = {file.parent.name[: len("date=YYYY-MM")]: file for file in files}
    months = dict(stored)
    with connect(settings) as connection:
        read = files[-1:] if stored else [*last_of_month.values()]
        found = [(file, _load_months(connection, file)) for file in read]
        for _, of_file in found:
            months |= of_file
        months = dict(sorted(months.items()))
        for file, of_file in found:
            for month in of_file.values():
                if months[month.name] == month:
                    page = _render(connection, file, month, months)
                    _write(settings.reports / FOLDER / f"{month.name}.html", page)
    content = {name: asdict(month) for name, month in months.items()}
    write_json(settings.reports / FOLDER / SUMMARIES, {"version": VERSION, "months": content})
    return months


def _load_months(connection: duckdb.DuckDBPyConnection, file: Path) -> dict[str, Month]:
    as_of = file.parent.name.removeprefix("date=")
    totals: dict[str, list[AcquisitionCost]] = {}
    for row in load_costs(connection, file, "month"):
        totals.setdefault(row.cohort, []).append(row)
    return {name: Month(name, as_of, tuple(rows)) for name, rows in totals.items()}


def _render(
    connection: duckdb.DuckDBPyConnection, file: Path, month: Month, months: dict[str, Month]
) -> str:
    groups = {by: load_costs(connection, file, by, cohort=month.name) for by in GROUPS}
    return (
        environment(TEMPLATES)
        .get_template("month.html")
        .render(
            month=month,
            months=[*months.values()][::-1],
            trend={
                name: next(
                    (
                        row.cost_per_funded
                        for row in each.totals
                        if row.currency == month.totals[0].currency
                    ),
                    None,
                )
                for name, each in months.items()
            },
            tiles=_make_tiles(month),
            groups=[(by, heading, groups[by]) for by, heading in GROUPS.items()],
            sections=[*GROUPS.items(), ("months", "Months")],
            first=FIRST_ROWS,
            limit=MAX_ROWS,
        )
    )


def _make_tiles(month: Month) -> list[Tile]:
    row = month.totals[0]
    other = ", without other currencies" if month.totals[1:] else ""
    return [
        Tile("Spend", count(row.spend), f"{row.currency or 'in several currencies'}{other}"),
        Tile("Per lead", money(row.cost_per_lead), f"{count(row.leads)} leads"),
        Tile("Per approval", money(row.cost_per_approval), f"{count(row.approved)} approvals"),
        Tile("Per funded loan", money(row.cost_per_funded), f"{count(row.funded)} loans"),
        Tile("Share of yield", share(row.share_of_yield), "of a year of these loans"),
    ]


def _read_summaries(path: Path) -> dict[str, Month]:
    """Return the stored months; empty if there are none that this version can read."""
    try:
        stored = json.loads(path.read_text("utf-8"))
        if stored["version"] != VERSION:
            return {}
        return {
            name: Month(
                facts["name"],
                f"{date.fromisoformat(facts['as_of'])}",
                tuple(AcquisitionCost(**row) for row in facts["totals"]),
            )
            for name, facts in stored["months"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(page, "utf-8")
    beside.replace(path)
