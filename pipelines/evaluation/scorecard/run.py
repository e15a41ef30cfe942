"""Compute and publish the scorecard of some days."""

import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.daily_cache import compute_offers, load_offers
from pipelines.evaluation.scorecard.day_figures import combine_days
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.lead_totals import (
    DayTotals,
    load_lead_costs,
    total_by_outcomes,
    total_by_truth,
)
from pipelines.evaluation.scorecard.page import publish_page
from pipelines.evaluation.scorecard.truth import ShuffledTruth


def compute_scorecard(
    settings: Settings, first: date, last: date, *, with_truth: bool
) -> dict[str, Figures]:
    """Return the figures of the matching of the days `first` to `last`, both included.

    Args:
        settings: Settings of the home.
        first: The first business date; every date must have been matched.
        last: The last business date.
        with_truth: By the truth of a simulated market: expected figures of the published matches
            (`banyan`) and of `broadcast`, `rules` and `oracle`, see `rank_by_policy`. Else by the
            outcomes known, for the published matches only; a figure that needs the truth is None.

    Returns:
        Policy -> figure -> number, see `compute_figures`.

    Raises:
        UsageError: `last` is before `first`.
        InputMissing: A day isn't matched, or the home has no truth.
    """
    totals = day_by_truth if with_truth else day_by_outcomes
    return combine_days([totals(settings, day) for day in _with_progress(dates(first, last))])


def publish_scorecard(
    settings: Settings, first: date, last: date
) -> tuple[dict[str, Figures], Path]:
    """Publish the scorecard's page of some days by the truth; return the figures and its path.

    Raises:
        UsageError: `last` is before `first`.
        InputMissing: A day isn't matched, or the home has no truth.
    """
    days = [day_by_truth(settings, day) for day in _with_progress(dates(first, last))]
    figures = combine_days(days)
    return figures, publish_page(settings, days, figures)


def compute_negative_control(settings: Settings, first: date, last: date) -> dict[str, Figures]:
    """Return the figures under a truth that is permuted each day among the eligible pairs.

    No feature carries information on it, so no policy may do better than `broadcast`.
    """
    days = []
    for day in _with_progress(dates(first, last)):
        offers = compute_offers(settings, day, ShuffledTruth)
        with connect(settings) as connection:
            leads = load_lead_costs(connection, settings, day)
            days.append(total_by_truth(connection, leads, offers))
    return combine_days(days)


def dates(first: date, last: date) -> list[date]:
    """Return the dates from `first` to `last`, both included; `UsageError` if there are none."""
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}. Nothing was computed.")
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def day_by_truth(settings: Settings, day: date) -> DayTotals:
    """Return the expected results of each policy on `day` by the truth."""
    offers = load_offers(settings, day)
    with connect(settings) as connection:
        leads = load_lead_costs(connection, settings, day)
        return total_by_truth(connection, leads, offers)


def day_by_outcomes(settings: Settings, day: date) -> DayTotals:
    """Return the results of the published matches of `day` known so far."""
    with connect(settings) as connection:
        leads = load_lead_costs(connection, settings, day)
        return total_by_outcomes(connection, settings, leads)


def _with_progress(days: Sequence[date]) -> Iterator[date]:
    """Yield each day; show its number if a person watches a terminal."""
    for number, day in enumerate(days, start=1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\rscorecard: day {number} of {len(days)}")
            sys.stderr.write("\n" if number == len(days) else "")
        yield day
