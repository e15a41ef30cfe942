"""The `scorecard` verb."""

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np

from pipelines.database import connect
from pipelines.errors import WrongUse
from pipelines.scorecard.figures import Figures, Sums, figures_of
from pipelines.scorecard.market import load_market
from pipelines.scorecard.outcomes import sums_by_outcomes
from pipelines.scorecard.truth import sums_by_truth
from pipelines.settings import Settings
from pipelines.simulate.truth import world_of


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
        WrongUse: `last` is before `first`.
        InputMissing: A day isn't matched, or the home has no truth.
    """
    if last < first:
        raise WrongUse(f"--to {last} is before --from {first}. Nothing was computed.")
    world = world_of(settings) if with_truth else None
    days: list[Mapping[str, Sums]] = []
    quota = 0
    for day in (first + timedelta(days=number) for number in range((last - first).days + 1)):
        with connect(settings) as connection:
            market = load_market(connection, settings, day)
            quota += int(market.quota.sum())
            days.append(
                sums_by_truth(connection, market, world)
                if world
                else {"banyan": sums_by_outcomes(connection, settings, market)}
            )
    together = {
        policy: {name: np.concatenate([day[policy][name] for day in days]) for name in sums}
        for policy, sums in days[0].items()
    }
    return figures_of(together, len(together["banyan"]["cost"]), quota)
