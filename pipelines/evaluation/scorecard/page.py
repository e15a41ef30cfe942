"""The scorecard of some days as one self-contained page. The same days give the same bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from markupsafe import Markup

from expectations import policy
from pipelines.core.formats import count, long_date, share, short_date
from pipelines.core.publishing import publishing, write_json
from pipelines.core.rendering import svg
from pipelines.core.rendering.html import Tile, environment
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard import metric_labels
from pipelines.evaluation.scorecard.calibration import Calibration, measure_calibration
from pipelines.evaluation.scorecard.day_figures import combine_days, figures_by_group
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.frontier import Frontier, compute_frontier
from pipelines.evaluation.scorecard.information import (
    ValueOfInformation,
    compute_value_of_information,
)
from pipelines.evaluation.scorecard.lead_totals import DayTotals
from pipelines.evaluation.scorecard.lenders import (
    LenderService,
    find_least_served,
    measure_service,
)
from pipelines.evaluation.scorecard.metric_labels import BEFORE, NOW, format_headline
from pipelines.evaluation.scorecard.page_data import (
    GroupCost,
    Retraining,
    cost_by_channel,
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
    ("groups", "By segment and income"),
    ("lenders", "Lenders"),
    ("frontier", "Frontier"),
    ("information", "Value of information"),
    ("breakdown", "By channel"),
    ("calibration", "Calibration"),
    ("glossary", "Glossary"),
)
BY_DAY = (
    "fee_share_of_yield",
    "cost_share_of_yield",
    "surplus_share_of_oracle",
    "funded",
    "default_rate",
)
"""Figures that are shown by day."""
BY_GROUP = (
    "approval_rate",
    "funded",
    "default_rate",
    "fee_share_of_yield",
    "cost_share_of_yield",
    "surplus_share_of_oracle",
    "surplus_share_of_attainable",
    "first_offer_is_persons_best",
    "hopeless_share",
)
"""Figures that are shown by segment and income."""
FEW_LENDERS = 60
"""A table of more lenders is folded."""


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
    by_group = figures_by_group(days)
    frontier = compute_frontier(settings, last, float(days[-1].leads.cost.sum()))
    information = compute_value_of_information(settings, last)
    page = render(settings, days, figures, list(by_day.values()), by_group, frontier, information)
    with publishing(folder, {}) as fresh:
        (fresh / "index.html").write_text(page, "utf-8")
        shares = {plan.known: plan.share for plan in information.plans} if information else {}
        numbers = {"together": figures, "by_day": by_day, "by_group": by_group}
        numbers |= {"value_of_information": shares}
        write_json(fresh / "figures.json", numbers)
    return folder / "index.html"


def render(
    settings: Settings,
    days: Sequence[DayTotals],
    figures: Mapping[str, Figures],
    by_day: Sequence[Mapping[str, Figures]],
    by_group: Mapping[str, Mapping[str, Mapping[str, Figures]]],
    frontier: Frontier,
    information: ValueOfInformation | None,
) -> str:
    """Return the page as HTML."""
    dates = [day.day for day in days]
    retrainings = load_retrainings(settings, dates)
    calibrations = measure_calibration(settings, dates)
    lenders = measure_service(days, NOW, BEFORE)
    lenders.sort(key=_service_order)
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
            scale=_scale(channels),
            lenders=lenders,
            least_served=find_least_served(lenders),
            is_folded=len(lenders) > FEW_LENDERS,
            group_figures=BY_GROUP,
            groups=by_group,
            frontier=frontier,
            information=information,
            frontier_plot=_frontier_plot(frontier),
            calibrations=[(row, _calibration_plot(row)) for row in calibrations],
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
    attainable = share(now["surplus_share_of_attainable"])
    return [
        Tile(
            "Institutions pay, share of yield",
            share(now["fee_share_of_yield"]),
            f"broadcast {share(before['fee_share_of_yield'])}",
        ),
        Tile(
            "Leads cost, share of yield",
            share(now["cost_share_of_yield"]),
            f"broadcast {share(before['cost_share_of_yield'])}; 95%: {ends or 'none'}",
        ),
        Tile(
            "Surplus, share of oracle",
            share(now["surplus_share_of_oracle"]),
            f"{attainable} of what is attainable",
        ),
        Tile("Loans funded", count(now["funded"]), f"broadcast {count(before['funded'])}"),
        Tile(
            "Lenders worse served",
            count(now["lenders_worse_than_broadcast"]),
            "than by broadcast, beyond chance",
        ),
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


def _service_order(lender: LenderService) -> tuple[bool, bool, float, str]:
    """Order lenders: worse served ones first, then by rising ratio, lenders without one last."""
    ratio = math.inf if lender.ratio is None else lender.ratio
    return not lender.is_worse, not lender.is_measured, ratio, lender.name


def _frontier_plot(frontier: Frontier) -> Markup:
    """Return the points by what institutions pay (across) and the surplus (up)."""

    def place(kind: str) -> list[svg.Point]:
        return [
            svg.Point(
                point.fee_share,
                point.surplus,
                label=f"{point.weight:g}" if kind == "platform" else "",
            )
            for point in frontier.of_kind(kind)
            if point.fee_share is not None
        ]

    kinds = ("platform", "person", NOW)  # a broadcast is so far below that it hides the rest
    title = "Surplus by what institutions pay, for other weights of the value"
    return svg.trade_off_plot({kind: place(kind) for kind in kinds}, title=title)


def _scale(rows: Sequence[GroupCost]) -> float:
    """Return the end of the intervals' scale: 1.5 times the 90th percentile of the shares."""
    shares = sorted(row.share for row in rows if row.share is not None)
    return 1.5 * shares[int(0.9 * (len(shares) - 1))] if shares else 1.0
