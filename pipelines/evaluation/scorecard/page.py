"""The scorecard of some days as one self-contained page. The same days give the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from markupsafe import Markup

from expectations import policy
from pipelines.core import svg
from pipelines.core.formats import count, long_date, share, short_date
from pipelines.core.html import Tile, environment
from pipelines.core.publishing import publishing, write_json
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import metric_labels
from pipelines.evaluation.scorecard.breakdown import Part, by_channel, by_institution
from pipelines.evaluation.scorecard.calibration import Calibration, calibrations
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.lead_totals import DaySums, together
from pipelines.evaluation.scorecard.page_data import (
    Retraining,
    first_and_last,
    load_retrainings,
    stages,
    waterfall,
)
from pipelines.evaluation.scorecard.table import BEFORE, NOW, headline

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    ("policies", "Four ways to match"),
    ("way", "From spend to loan"),
    ("days", "Day by day"),
    ("parts", "By channel and institution"),
    ("calibration", "Predicted and realised"),
    ("terms", "How to read this"),
)
BY_DAY = (
    "cost_share_of_yield",
    "value_share_of_oracle",
    "funded",
    "default_rate",
)
"""Figures that are followed by day."""
EACH_END = 8
"""Institutions that are listed at either end."""
LEAST_FUNDED = 1.0
"""Expected loans below which an institution's share of cost says too little to be ranked."""


@dataclass(frozen=True)
class Chart:
    """A figure by day."""

    name: str
    drawing: Markup


def publish_page(
    settings: Settings, days: Sequence[DaySums], figures: Mapping[str, Figures]
) -> Path:
    """Publish the page of `days` and its figures under `reports/scorecard/`; return its path.

    Args:
        settings: Where the home is.
        days: Each day by the truth, in order.
        figures: Those of the days taken together.
    """
    first, last = days[0].day, days[-1].day
    folder = settings.reports / "scorecard" / f"{first}_{last}"
    by_day = {f"{day.day}": together([day]) for day in days}
    page = render(settings, days, figures, list(by_day.values()))
    with publishing(folder, {}) as fresh:
        (fresh / "index.html").write_text(page, "utf-8")
        write_json(fresh / "figures.json", {"together": figures, "by_day": by_day})
    return folder / "index.html"


def render(
    settings: Settings,
    days: Sequence[DaySums],
    figures: Mapping[str, Figures],
    by_day: Sequence[Mapping[str, Figures]],
) -> str:
    """Return the page as HTML."""
    dates = [day.day for day in days]
    retrained = load_retrainings(settings, dates)
    told = calibrations(settings, dates)
    institutions = [part for part in by_institution(days, NOW) if part.funded >= LEAST_FUNDED]
    institutions.sort(key=lambda part: (part.share or 0, part.name))
    channels = by_channel(days, NOW)
    channels.sort(key=lambda part: (part.share or 0, part.name))
    ways = {name: stages(days, name) for name in (NOW, BEFORE)}
    return (
        environment(TEMPLATES)
        .get_template("scorecard.html")
        .render(
            sections=SECTIONS,
            period=_period(dates),
            dates=dates,
            headline=headline(figures),
            tiles=_tiles(figures),
            figures=figures,
            names=metric_labels.FIGURES,
            policies=metric_labels.POLICIES,
            written=metric_labels.written,
            interval=metric_labels.interval,
            ways=ways,
            spend=sum(float(day.leads.cost.sum()) for day in days),
            waterfalls={name: waterfall(days, name) for name in ways},
            dearest=max(figures[name]["cost_per_funded"] or 0 for name in ways),
            currency=policy.base_currency(),
            charts_by_day=_charts(dates, by_day, retrained),
            by_day=list(zip(dates, by_day, strict=True)),
            followed=BY_DAY,
            weeks=first_and_last(days),
            retrained=retrained,
            channels=channels,
            channels_before=_shares(by_channel(days, BEFORE, resamples=0)),
            institutions=_both_ends(institutions),
            ranked=len(institutions),
            institutions_before=_shares(by_institution(days, BEFORE, resamples=0)),
            scales=(_scale(channels), _scale(institutions)),
            told=[(of, _calibration_plot(of)) for of in told],
            least_funded=LEAST_FUNDED,
            weights=policy.value(),
        )
    )


def _period(dates: Sequence[date]) -> str:
    ends = [long_date(day).partition(", ")[2] for day in (dates[0], dates[-1])]
    return ends[0] if len(dates) == 1 else f"{ends[0]} to {ends[1]}"


def _tiles(figures: Mapping[str, Figures]) -> list[Tile]:
    """Return the large figures, each beside what it is compared with."""
    now, before = figures[NOW], figures[BEFORE]
    ends = metric_labels.interval(
        "cost_share_of_yield", now["cost_share_of_yield_low"], now["cost_share_of_yield_high"]
    )
    return [
        Tile("Cost, share of yield", share(now["cost_share_of_yield"]), f"95%: {ends or 'none'}"),
        Tile("Loans funded", count(now["funded"]), f"broadcast {count(before['funded'])}"),
        Tile("Value", share(now["value_share_of_oracle"]), "of the best plan there is"),
        Tile(
            "Default rate", share(now["default_rate"]), f"broadcast {share(before['default_rate'])}"
        ),
    ]


def _charts(
    dates: Sequence[date],
    by_day: Sequence[Mapping[str, Figures]],
    retrained: Sequence[Retraining],
) -> list[Chart]:
    marks = [of.position for of in retrained if of.position > 0]
    return [
        Chart(
            name,
            svg.line_plot(
                {way: [of_day[way][name] for of_day in by_day] for way in metric_labels.POLICIES},
                [short_date(day) for day in dates],
                title=f"{metric_labels.FIGURES[name].name} by day",
                marks=marks,
                is_share=metric_labels.FIGURES[name].kind == "share",
                band=(
                    [of_day[NOW][f"{name}_low"] for of_day in by_day],
                    [of_day[NOW][f"{name}_high"] for of_day in by_day],
                ),
            ),
        )
        for name in BY_DAY
    ]


def _calibration_plot(found: Calibration) -> Markup:
    observed = [
        svg.Point(row.predicted_of_known, row.realised)
        for row in found.bins
        if row.predicted_of_known is not None and row.realised is not None
    ]
    true = [svg.Point(row.predicted, row.true) for row in found.bins]
    title = f"Probability of {found.question.name}: observed and true by predicted"
    return svg.calibration_plot(observed, true, title=title)


def _shares(parts: Sequence[Part]) -> dict[str, float | None]:
    return {part.name: part.share for part in parts}


def _both_ends(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the cheapest and the dearest, dearest last; all where they are few."""
    if len(parts) <= 2 * EACH_END:
        return {"All": parts}
    return {"Lowest share": parts[:EACH_END], "Highest share": parts[-EACH_END:]}


def _scale(parts: Sequence[Part]) -> float:
    """Return where the intervals' scale ends: beyond nearly all shares, however far the last is."""
    shares = sorted(part.share for part in parts if part.share is not None)
    return 1.5 * shares[int(0.9 * (len(shares) - 1))] if shares else 1.0
