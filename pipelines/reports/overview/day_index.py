"""The page of all days, `reports/index.html`, and the pages of weeks and months beside it.

They are written again after each report, whole; none is part of a published day. A published page
of a day never changes, so the day after is found here: each row has the anchor `after-DATE` of the
date before it.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.evidence.sign_offs import SignOff, read_sign_offs
from pipelines.core.settings import Settings
from pipelines.reports.languages import LANGUAGES, STEM, TEMPLATES, render_each
from pipelines.reports.overview.month_costs import (
    MonthCost,
    load_cost_groups,
    update_month_costs,
)
from pipelines.reports.overview.period_pages import (
    Content,
    Kind,
    Period,
    list_periods,
    render_period,
)
from pipelines.reports.overview.summaries import (
    LABELS,
    Facts,
    count_over,
    make_tiles,
    name_rules,
    plot_shares,
    restore_reasons,
    update_summaries,
)

PAGE = f"{STEM}.html"
PLOTTED_DAYS = SHOWN_DAYS = 90
"""Days of the plots, and rows of the table before a search: laying out 1,000 takes too long."""
WEEK = 7
KINDS: tuple[Kind, ...] = ("weeks", "months")


def write_day_index(settings: Settings, day: date) -> Path:
    """Write the page of all days again, and the pages of weeks and months.

    `day` is shown as its report is now. Of the weeks and months, the one of `day` is written, the
    one before it, since it leads to the next, what is missing, and the months whose costs the
    newest marts have.

    Returns:
        The path of the page of all days in English.
    """
    summaries, costs = update_summaries(settings, day), update_month_costs(settings)
    decisions = _read_decisions(settings, summaries)
    for name, page in render_day_index(summaries, costs, decisions):
        _replace(settings.reports / name, page)
    newest = max((month.as_of for month in costs.values()), default=None)
    for kind in KINDS:
        periods = list_periods(kind, summaries, costs if kind == "months" else None)
        for at, period in enumerate(periods):
            is_near = any(f"{day}" in near.days for near in periods[at : at + 2])
            is_new = period.costs is not None and period.costs.as_of == newest
            if is_near or is_new or _is_missing(settings, period):
                groups = load_cost_groups(settings, period.costs) if period.costs else {}
                content = Content(summaries, decisions, groups)
                for name, page in render_period(periods, at, content):
                    _replace(settings.reports / kind / name, page)
    return settings.reports / PAGE


def render_day_index(
    summaries: Mapping[str, Facts],
    costs: Mapping[str, MonthCost] = MappingProxyType({}),
    decisions: Mapping[str, SignOff | None] = MappingProxyType({}),
) -> Iterator[tuple[str, str]]:
    """Yield file name and HTML of the page of all days in each language.

    Args:
        summaries: Date -> what `summarise` returns, sorted by date.
        costs: Month -> what its leads cost, oldest first.
        decisions: Date -> its newest decision, of the dates that have one; None: it is unreadable.
    """
    script = (TEMPLATES / "day_index.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    summaries = restore_reasons(summaries)
    plotted = list(summaries.items())[-PLOTTED_DAYS:]
    names = list(summaries)
    week = [facts for _, facts in list(summaries.items())[-WEEK:]]
    months = [period.name for period in list_periods("months", summaries, costs)]
    currency = next((row.currency for month in costs.values() for row in month.totals), None)
    values: dict[str, Any] = plot_shares(plotted) | {
        "days": list(summaries.items())[::-1],
        "before": dict(zip(names[1:], names, strict=False)),
        "last": names[-1] if names else "",
        "shown": SHOWN_DAYS,
        "labels": LABELS,
        "decisions": decisions,
        "tiles": make_tiles(summaries),
        "findings": (findings := count_over("findings", week)),
        "rule_names": name_rules(findings),
        "rules": count_over("rules", week),
        "week": len(week),
        "weeks": [period.name for period in list_periods("weeks", summaries)][::-1],
        "months": months[::-1],
        "costs": [row for month in [*costs.values()][::-1] for row in month.totals],
        "cost_currency": currency,
        "cost_of_loans": {name: _cost_of_loan(month, currency) for name, month in costs.items()},
        "script": script,
        "script_hash": f"sha256-{digest}",
    }
    return render_each("day_index.html", STEM, values)


def _cost_of_loan(month: MonthCost, currency: str | None) -> float | None:
    found = (row.cost_per_funded for row in month.totals if row.currency == currency)
    return next(found, None)


def _read_decisions(settings: Settings, dates: Mapping[str, Facts]) -> dict[str, SignOff | None]:
    """Return date -> its newest decision; None where the ledger is damaged."""
    found: dict[str, SignOff | None] = {}
    for name in dates:
        try:
            entries = read_sign_offs(settings, date.fromisoformat(name))
        except (IntegrityError, ValueError):
            found[name] = None
        else:
            found |= {name: entries[-1]} if entries else {}
    return found


def _is_missing(settings: Settings, period: Period) -> bool:
    folder = settings.reports / period.kind
    return not all((folder / language.file(period.name)).is_file() for language in LANGUAGES)


def _replace(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")  # a decision may come during a run
    beside.write_text(page, "utf-8")
    beside.replace(path)
