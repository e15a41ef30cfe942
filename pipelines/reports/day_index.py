"""The page of all days, `reports/index.html`, and a page for each week and month.

They are written again after each report, whole; none is part of a published day. A published page
of a day never changes, so the day after is found here: each row has the anchor `after-DATE` of the
date before it.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pipelines.core.formats import share
from pipelines.core.rendering.html import Tile
from pipelines.core.settings import Settings
from pipelines.core.translation import from_json, text
from pipelines.reports.languages import LANGUAGES, TEMPLATES, render_each
from pipelines.reports.summaries import (
    LABELS,
    SLIPS,
    Facts,
    count_over,
    count_slips,
    share_of,
    update_summaries,
)

STEM, PAGE = "index", "index.html"
PLOTTED_DAYS = 90
WEEK = 7
MAX_SOURCES = 50
"""Sources that slipped, on the page of a week or month."""
CONDUCT = {
    "named": text("Consent names the institution"),
    "notices_open": text("Notices open"),
    "notices_overdue": text("Notices overdue"),
    "silent_orders": text("Sources of orders that match nobody"),
    "open_above_cap": text("Open products stated above their cap"),
    "matches_above_cap": text("Matches above their cap"),
    "steered": text("People whom the fee would steer"),
    "hopeless": text("Hopeless people"),
    "lenders_worse": text("Lenders served worse than by broadcast"),
}
"""Figure of a day's conduct -> its heading."""

Kind = Literal["weeks", "months"]


@dataclass(frozen=True)
class Period:
    """A week or a month with reports."""

    kind: Kind
    name: str
    """2026-W47, or 2026-11."""
    days: tuple[str, ...]


def write_day_index(settings: Settings, day: date) -> Path:
    """Write the page of all days again, and those of the week and month of `day`.

    `day` is shown as its report is now. Pages of other periods are written where they are missing,
    or where they come just before, since they lead to the next one.

    Returns:
        The path of the page of all days in English.
    """
    summaries = update_summaries(settings, day)
    for name, page in render_day_index(summaries):
        _replace(settings.reports / name, page)
    for kind in ("weeks", "months"):
        periods = list_periods(kind, summaries)
        (settings.reports / kind).mkdir(exist_ok=True)
        for at, period in enumerate(periods):
            near = f"{day}" in period.days or f"{day}" in _days_of(periods, at + 1)
            if near or _is_missing(settings, period):
                for name, page in render_period(periods, at, summaries):
                    _replace(settings.reports / kind / name, page)
    return settings.reports / PAGE


def list_periods(kind: Kind, summaries: Mapping[str, Facts]) -> list[Period]:
    """Return the weeks (ISO 8601) or months that have reports, oldest first."""
    days: dict[str, list[str]] = {}
    for name in summaries:
        days.setdefault(name_period(kind, date.fromisoformat(name)), []).append(name)
    return [Period(kind, name, tuple(dates)) for name, dates in sorted(days.items())]


def name_period(kind: Kind, day: date) -> str:
    """Return the name of the week or month of `day`."""
    if kind == "months":
        return f"{day:%Y-%m}"
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def render_day_index(summaries: Mapping[str, Facts]) -> Iterator[tuple[str, str]]:
    """Yield file name and HTML of the page of all days in each language.

    Args:
        summaries: Date -> what `summarise` returns, sorted by date.
    """
    script = (TEMPLATES / "day_index.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    summaries = _restore(summaries)
    plotted = list(summaries.items())[-PLOTTED_DAYS:]
    names = list(summaries)
    week = [facts for _, facts in list(summaries.items())[-WEEK:]]
    values: dict[str, Any] = _plots(plotted) | {
        "days": list(summaries.items())[::-1],
        "before": dict(zip(names[1:], names, strict=False)),
        "last": names[-1] if names else "",
        "labels": LABELS,
        "tiles": _make_tiles(summaries),
        "findings": count_over("findings", week),
        "rules": count_over("rules", week),
        "week": len(week),
        "weeks": [period.name for period in list_periods("weeks", summaries)][::-1],
        "months": [period.name for period in list_periods("months", summaries)][::-1],
        "script": script,
        "script_hash": f"sha256-{digest}",
    }
    return render_each("day_index.html", STEM, values)


def render_period(
    periods: list[Period], at: int, summaries: Mapping[str, Facts]
) -> Iterator[tuple[str, str]]:
    """Yield file name and HTML of the page of one week or month in each language."""
    period = periods[at]
    days = list(_restore({name: summaries[name] for name in period.days}).items())
    of_days = [facts for _, facts in days]
    attributes = sorted(
        {name for facts in of_days for name in facts["fairness"].get("attributes", ())}
    )
    values: dict[str, Any] = _plots(days) | {
        "period": period,
        "previous": periods[at - 1].name if at else None,
        "next": periods[at + 1].name if at + 1 < len(periods) else None,
        "days": days[::-1],
        "labels": LABELS,
        "tiles": _make_tiles(dict(days)),
        "findings": count_over("findings", of_days),
        "rules": count_over("rules", of_days),
        "slips": count_slips(of_days)[:MAX_SOURCES],
        "slip_names": SLIPS,
        "conduct_names": CONDUCT,
        "attributes": attributes,
        "ratios": {name: [_ratio(facts, name) for facts in of_days] for name in attributes},
        "named": [_named(facts) for facts in of_days],
    }
    return render_each("period.html", period.name, values)


def _restore(summaries: Mapping[str, Facts]) -> dict[str, Facts]:
    """Return `summaries` with the reasons of each date as texts that can be translated."""
    return {
        name: facts | {"reasons": list(map(from_json, facts["reasons"]))}
        for name, facts in summaries.items()
    }


def _plots(days: list[tuple[str, Facts]]) -> dict[str, Any]:
    """Return what the plots of shares by date read."""
    return {
        "dates": [name for name, _ in days],
        "matched": [share_of(facts, "matched") for _, facts in days],
        "lost": [share_of(facts, "quarantined") for _, facts in days],
        "not_fit": [at for at, (_, facts) in enumerate(days) if facts["verdict"] == "not_fit"],
    }


def _ratio(facts: Facts, attribute: str) -> float | None:
    found = facts["fairness"].get("attributes", {}).get(attribute)
    return found["ratio"] if found else None


def _named(facts: Facts) -> float | None:
    conduct = facts["conduct"]
    return conduct["named"] / conduct["matches"] if conduct.get("matches") else None


def _days_of(periods: list[Period], at: int) -> tuple[str, ...]:
    return periods[at].days if at < len(periods) else ()


def _is_missing(settings: Settings, period: Period) -> bool:
    folder = settings.reports / period.kind
    return not all((folder / language.file(period.name)).is_file() for language in LANGUAGES)


def _replace(path: Path, page: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(page, "utf-8")
    beside.replace(path)


def _make_tiles(summaries: Mapping[str, Facts]) -> list[Tile]:
    verdicts = Counter(facts["verdict"] for facts in summaries.values())
    received = sum(facts["leads"].get("received", 0) for facts in summaries.values())
    matched = sum(facts["leads"].get("matched", 0) for facts in summaries.values())
    first, *_ = [*summaries, ""]
    headings = {
        "fit": text("Fit"), "remarks": text("Fit with remarks"), "not_fit": text("Not fit")
    }  # fmt: skip
    return [
        Tile(
            text("Days"), f"{len(summaries):,}", text("since {first}", first=first) if first else ""
        ),
        *(
            Tile(heading, f"{verdicts[name]:,}", share(verdicts[name], len(summaries)))
            for name, heading in headings.items()
        ),
        Tile(
            text("Leads received"),
            f"{received:,}",
            text("{share} matched", share=share(matched, received)),
        ),
    ]
