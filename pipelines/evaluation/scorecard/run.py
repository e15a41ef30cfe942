"""The `scorecard` verb: the figures of some days, taken together."""

import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.evaluation.scorecard.daily_cache import compute, offers_of_day
from pipelines.evaluation.scorecard.figures import Figures
from pipelines.evaluation.scorecard.lead_totals import DaySums, sums_by_truth, together
from pipelines.evaluation.scorecard.leads import leads_of_day
from pipelines.evaluation.scorecard.outcomes import sums_by_outcomes
from pipelines.evaluation.scorecard.page import publish_page
from pipelines.evaluation.scorecard.truth import ShuffledTruth


def scorecard(
    settings: Settings, first: date, last: date, *, with_truth: bool
) -> dict[str, Figures]:
    """Return what the matching of the days `first` to `last`, both included, was worth.

    Args:
        settings: Where the home is.
        first: The first business date; every one of them must have been matched.
        last: The last.
        with_truth: From the truth of a simulated market: expected figures of the published
            matches (`banyan`) and of `broadcast`, `rules` and `oracle`, see `shown_by`. Else from
            the outcomes known, of the published matches alone; what no outcome tells is None.

    Returns:
        Policy -> figure -> number, see `figures_of`.

    Raises:
        UsageError: `last` is before `first`.
        InputMissing: A day isn't matched, or the home has no truth.
    """
    sums_of = day_by_truth if with_truth else day_by_outcomes
    return together([sums_of(settings, day) for day in _told(dates(first, last))])


def scorecard_page(settings: Settings, first: date, last: date) -> tuple[dict[str, Figures], Path]:
    """Return the figures of some days by the truth, and where the page is that was made of them.

    Raises:
        UsageError: `last` is before `first`.
        InputMissing: A day isn't matched, or the home has no truth.
    """
    days = [day_by_truth(settings, day) for day in _told(dates(first, last))]
    figures = together(days)
    return figures, publish_page(settings, days, figures)


def control(settings: Settings, first: date, last: date) -> dict[str, Figures]:
    """Return the figures under a truth that is shuffled each day among the pairs that may be shown.

    Nothing that can be learnt tells that truth, so no gain over `broadcast` may be left.
    """
    days = []
    for day in _told(dates(first, last)):
        offers = compute(settings, day, ShuffledTruth)
        with connect(settings) as connection:
            days.append(sums_by_truth(connection, leads_of_day(connection, settings, day), offers))
    return together(days)


def dates(first: date, last: date) -> list[date]:
    """Return the dates from `first` to `last`, both included; `UsageError` if there are none."""
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}. Nothing was computed.")
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def day_by_truth(settings: Settings, day: date) -> DaySums:
    """Return what each policy brings on `day` by the truth; computed once, then kept."""
    offers = offers_of_day(settings, day)
    with connect(settings) as connection:
        return sums_by_truth(connection, leads_of_day(connection, settings, day), offers)


def day_by_outcomes(settings: Settings, day: date) -> DaySums:
    """Return what the published matches of `day` have brought so far."""
    with connect(settings) as connection:
        leads = leads_of_day(connection, settings, day)
        return sums_by_outcomes(connection, settings, leads)


def _told(days: Sequence[date]) -> Iterator[date]:
    """Yield each day, telling whoever watches a terminal which it is."""
    for number, day in enumerate(days, start=1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\rscorecard: day {number} of {len(days)}")
            sys.stderr.write("\n" if number == len(days) else "")
        yield day
