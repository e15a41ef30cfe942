"""A page for each week and month: what failed most, what slipped, conduct and fairness over time.

The page of a month also has what the leads that were captured in it cost the channels' spend.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from pipelines.core.evidence.sign_offs import SignOff
from pipelines.core.formats import count, money, share
from pipelines.core.rendering.html import Tile
from pipelines.core.translation import plural, text
from pipelines.reports.languages import render_each
from pipelines.reports.overview.month_costs import GROUPS, MonthCost
from pipelines.reports.overview.summaries import (
    LABELS,
    SLIPS,
    Facts,
    count_over,
    count_slips,
    make_tiles,
    name_rules,
    plot_shares,
    restore_reasons,
)
from pipelines.reports.sections.acquisition import AcquisitionCost

FIRST_ROWS, MAX_ROWS = 25, 500
"""Rows of a table of costs that are shown, and that the page has; the marts have all."""
MAX_SOURCES = 50
"""Sources that slipped, on the page of a week or month."""
CONDUCT = {
    "named": text("Consent names the institution"),
    "notices_open": text("Notices open"),
    "notices_overdue": text("Notices overdue"),
    "silent_orders": text("Sources of orders that match nobody"),
    "open_above_cap": text("Open products stated above their cap"),
    "matches_above_cap": text("Matches above their cap"),
    "steered": text("People that the fee would steer"),
    "hopeless": text("Hopeless people"),
    "lenders_worse": text("Lenders served worse than by broadcast"),
}
"""Figure of a day's conduct -> its heading."""
SECTIONS = (
    ("days", text("Days")),
    ("trends", text("Trends")),
    ("failures", text("What failed most")),
    ("slips", text("Sources that slipped")),
    ("conduct", text("Conduct over time")),
    ("fairness", text("Fairness over time")),
)
COSTS = ("costs", text("Acquisition cost"))
"""The section that the page of a month has besides."""

Kind = Literal["weeks", "months"]
"""Each is a folder of `reports/`."""


@dataclass(frozen=True)
class Period:
    """A week or a month with reports, or with acquisition costs."""

    kind: Kind
    name: str
    """2026-W47, or 2026-11."""
    days: tuple[str, ...] = ()
    """Its dates with a report, oldest first."""
    costs: MonthCost | None = None
    """What the leads captured in it cost; of months alone."""


@dataclass(frozen=True)
class Content:
    """What the page of a period shows."""

    summaries: Mapping[str, Facts]
    """Date -> what `summarise` returns; of all dates, sorted."""
    decisions: Mapping[str, SignOff | None] = field(default_factory=dict)
    """Date -> its newest decision, of the dates that have one; None: it is unreadable."""
    costs: Mapping[str, list[AcquisitionCost]] = field(default_factory=dict)
    """The cost of the month by each of `GROUPS`; empty if it can no longer be divided."""


def list_periods(
    kind: Kind, dates: Iterable[str], costs: Mapping[str, MonthCost] | None = None
) -> list[Period]:
    """Return the weeks (ISO 8601) or months that have a report or a cost, oldest first."""
    days: dict[str, list[str]] = {name: [] for name in costs or ()}
    for name in dates:
        days.setdefault(name_period(kind, date.fromisoformat(name)), []).append(name)
    return [Period(kind, name, tuple(days[name]), (costs or {}).get(name)) for name in sorted(days)]


def name_period(kind: Kind, day: date) -> str:
    """Return the name of the week or month of `day`."""
    if kind == "months":
        return f"{day:%Y-%m}"
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def render_period(periods: list[Period], at: int, content: Content) -> Iterator[tuple[str, str]]:
    """Yield file name and HTML of the page of `periods[at]` in each language."""
    period = periods[at]
    days = list(restore_reasons({day: content.summaries[day] for day in period.days}).items())
    of_days = [facts for _, facts in days]
    attributes = sorted(
        {name for facts in of_days for name in facts["fairness"].get("attributes", ())}
    )
    values: dict[str, Any] = plot_shares(days) | {
        "period": period,
        "previous": periods[at - 1].name if at else None,
        "next": periods[at + 1].name if at + 1 < len(periods) else None,
        "sections": (*(SECTIONS if days else ()), *([COSTS] if period.costs else ())),
        "days": days[::-1],
        "labels": LABELS,
        "decisions": content.decisions,
        "tiles": make_tiles(dict(days)),
        "findings": (findings := count_over("findings", of_days)),
        "rule_names": name_rules(findings),
        "rules": count_over("rules", of_days),
        "slips": count_slips(of_days)[:MAX_SOURCES],
        "slip_names": SLIPS,
        "conduct_names": CONDUCT,
        "attributes": attributes,
        "ratios": {name: [_ratio(facts, name) for facts in of_days] for name in attributes},
        "named": [_named(facts) for facts in of_days],
        "cost_tiles": _make_cost_tiles(period.costs) if period.costs else [],
        "groups": [(by, GROUPS[by], rows) for by, rows in content.costs.items()],
        "first": FIRST_ROWS,
        "limit": MAX_ROWS,
    }
    return render_each("period.html", period.name, values)


def _ratio(facts: Facts, attribute: str) -> float | None:
    found = facts["fairness"].get("attributes", {}).get(attribute)
    return found["ratio"] if found else None


def _named(facts: Facts) -> float | None:
    conduct = facts["conduct"]
    return conduct["named"] / conduct["matches"] if conduct.get("matches") else None


def _make_cost_tiles(month: MonthCost) -> list[Tile]:
    row = month.totals[0]
    currency = row.currency or text("in several currencies")
    if month.totals[1:]:
        currency = text("{currency}, without other currencies", currency=currency)
    loans = plural(row.funded or 0, "loan")
    return [
        Tile(text("Spend"), count(row.spend), currency),
        Tile(text("Per lead"), money(row.cost_per_lead), plural(round(row.leads or 0), "lead")),
        Tile(
            text("Per approval"),
            money(row.cost_per_approval),
            plural(row.approved or 0, "approval"),
        ),
        Tile(text("Per funded loan"), money(row.cost_per_funded), loans),
        Tile(text("Share of yield"), share(row.share_of_yield), text("of a year of these loans")),
    ]
