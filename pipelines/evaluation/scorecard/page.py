"""The scorecard of some days as one self-contained page. The same days give the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from markupsafe import Markup

from expectations import policy
from pipelines.core.formats import count, long_date, share, short_date
from pipelines.core.publishing import publishing, write_json
from pipelines.core.rendering import svg
from pipelines.core.rendering.html import Tile, environment
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import metric_labels
from pipelines.evaluation.scorecard.calibration import Calibration, measure_calibration
from pipelines.evaluation.scorecard.day_figures import combine_days
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.lead_totals import DayTotals
from pipelines.evaluation.scorecard.metric_labels import BEFORE, NOW, format_headline
from pipelines.evaluation.scorecard.page_data import (
    GroupCost,
    Retraining,
    cost_by_channel,
    cost_by_institution,
    cost_waterfall,
    first_and_last_week,
    funnel,
    load_retrainings,
)

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    ("policies", "Policies"),
    ("funnel", "From spend to loan"),
    ("days", "Day by day"),
    ("breakdown", "By channel and institution"),
    ("calibration", "Calibration"),
    ("glossary", "Glossary"),
)
BY_DAY = (
    "cost_share_of_yield",
    "value_share_of_oracle",
    "funded",
    "default_rate",
)
"""Figures that are shown by day."""
EXTREMES = 8
"""Institutions listed at either end of the ranking."""
MIN_FUNDED = 1.0
"""Expected loans that an institution needs to be ranked."""


@dataclass(frozen=True)
class DailyChart:
    """A figure by day."""

    name: str
    drawing: Markup


def publish_page(
    settings: Settings, days: Sequence[DayTotals], figures: Mapping[str, Figures]
) -> Path:
    """Publish the page of `days` and its figures under `reports/scorecard/`; return its path.

    Args:
        settings: Settings of the home.
        days: Each day by the truth, in order.
        figures: Figures of the days taken together.
    """
    first, last = days[0].day, days[-1].day
    folder = settings.reports / "scorecard" / f"{first}_{last}"
    by_day = {f"{day.day}": combine_days([day]) for day in days}
    page = render(settings, days, figures, list(by_day.values()))
    with publishing(folder, {}) as fresh:
        (fresh / "index.html").write_text(page, "utf-8")
        write_json(fresh / "figures.json", {"together": figures, "by_day": by_day})
    return folder / "index.html"


def render(
    settings: Settings,
    days: Sequence[DayTotals],
    figures: Mapping[str, Figures],
    by_day: Sequence[Mapping[str, Figures]],
) -> str:
    """Return the page as HTML."""
    dates = [day.day for day in days]
    retrainings = load_retrainings(settings, dates)
    calibrations = measure_calibration(settings, dates)
    institutions = [row for row in cost_by_institution(days, NOW) if row.funded >= MIN_FUNDED]
    institutions.sort(key=lambda row: (row.share or 0, row.name))
    channels = cost_by_channel(days, NOW)
    channels.sort(key=lambda row: (row.share or 0, row.name))
    compared = (NOW, BEFORE)
    return (
        environment(TEMPLATES)
        .get_template("scorecard.html")
        .render(
            sections=SECTIONS,
            period=_period(dates),
            dates=dates,
            headline=format_headline(figures),
            tiles=_tiles(figures),
            figures=figures,
            metrics=metric_labels.METRICS,
            policies=metric_labels.POLICIES,
            format_figure=metric_labels.format_figure,
            format_interval=metric_labels.format_interval,
            funnels={name: funnel(days, name) for name in compared},
            spend=sum(float(day.leads.cost.sum()) for day in days),
            waterfalls={name: cost_waterfall(days, name) for name in compared},
            highest_cost=max(figures[name]["cost_per_funded"] or 0 for name in compared),
            currency=policy.base_currency(),
            daily_charts=daily_charts(dates, by_day, retrainings) if len(dates) > 1 else [],
            by_day=list(zip(dates, by_day, strict=True)),
            daily_figures=BY_DAY,
            weeks=first_and_last_week(days),
            retrainings=retrainings,
            channels=channels,
            channels_before=_shares(cost_by_channel(days, BEFORE, resamples=0)),
            institutions=_extremes(institutions),
            ranked=len(institutions),
            institutions_before=_shares(cost_by_institution(days, BEFORE, resamples=0)),
            scales=(_scale(channels), _scale(institutions)),
            calibrations=[(row, _calibration_plot(row)) for row in calibrations],
            min_funded=MIN_FUNDED,
            weights=policy.value(),
        )
    )


def _period(dates: Sequence[date]) -> str:
    ends = [long_date(day).partition(", ")[2] for day in (dates[0], dates[-1])]
    return ends[0] if len(dates) == 1 else f"{ends[0]} to {ends[1]}"


def _tiles(figures: Mapping[str, Figures]) -> list[Tile]:
    """Return the large figures, each with the figure it is compared with."""
    now, before = figures[NOW], figures[BEFORE]
    ends = metric_labels.format_interval(
        "cost_share_of_yield", now["cost_share_of_yield_low"], now["cost_share_of_yield_high"]
    )
    return [
        Tile("Cost, share of yield", share(now["cost_share_of_yield"]), f"95%: {ends or 'none'}"),
        Tile("Loans funded", count(now["funded"]), f"broadcast {count(before['funded'])}"),
        Tile("Value", share(now["value_share_of_oracle"]), "of the oracle's value"),
        Tile(
            "Default rate", share(now["default_rate"]), f"broadcast {share(before['default_rate'])}"
        ),
    ]


def daily_charts(
    dates: Sequence[date],
    by_day: Sequence[Mapping[str, Figures]],
    retrainings: Sequence[Retraining],
) -> list[DailyChart]:
    """Return a chart by day of each of `BY_DAY`; retrainings are marked."""
    return [
        DailyChart(
            name,
            svg.line_plot(
                {way: [day[way][name] for day in by_day] for way in metric_labels.POLICIES},
                [short_date(day) for day in dates],
                title=f"{metric_labels.METRICS[name].name} by day",
                marks=[row.position for row in retrainings if row.position > 0],
                is_share=metric_labels.METRICS[name].format == "share",
                band=(
                    [day[NOW][f"{name}_low"] for day in by_day],
                    [day[NOW][f"{name}_high"] for day in by_day],
                ),
            ),
        )
        for name in BY_DAY
    ]


def _calibration_plot(calibration: Calibration) -> Markup:
    observed = [
        svg.Point(row.predicted_of_known, row.observed)
        for row in calibration.bins
        if row.predicted_of_known is not None and row.observed is not None
    ]
    true = [svg.Point(row.predicted, row.true) for row in calibration.bins]
    title = f"Probability of {calibration.target}: observed and true by predicted"
    return svg.calibration_plot(observed, true, title=title)


def _shares(rows: Sequence[GroupCost]) -> dict[str, float | None]:
    return {row.name: row.share for row in rows}


def _extremes(rows: Sequence[GroupCost]) -> dict[str, Any]:
    """Return both ends of the ranking; all rows if they are few."""
    if len(rows) <= 2 * EXTREMES:
        return {"All": rows}
    return {"Lowest share": rows[:EXTREMES], "Highest share": rows[-EXTREMES:]}


def _scale(rows: Sequence[GroupCost]) -> float:
    """Return the end of the intervals' scale: 1.5 times the 90th percentile of the shares."""
    shares = sorted(row.share for row in rows if row.share is not None)
    return 1.5 * shares[int(0.9 * (len(shares) - 1))] if shares else 1.0
