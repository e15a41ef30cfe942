"""Four ways to match the same leads: who is shown what, and at which place."""

from collections.abc import Mapping

import numpy as np

from expectations import policy
from pipelines.allocation.allocate import allocate
from pipelines.allocation.problem import PairColumns
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.evaluation.scorecard.market import DayMarket
from pipelines.simulate.outcomes.broadcast import allocate_in_rounds, rank_offers

POLICIES = ("banyan", "broadcast", "rules", "oracle")
"""What was published, and what it is compared with."""

SEED = 57
"""Of the lots by which a broadcast is drawn and ties are settled; with the day it gives them."""


def shown_by(market: DayMarket, true_value: FloatArray) -> Mapping[str, IntArray]:
    """Return, by policy, the rank of each pair among its lead's offers; 0 where it isn't shown.

    `banyan` is what was published. `broadcast` takes eligible products at random, `rules` those
    first whose price is highest (an amount share as money, whatever the chance of being paid), in
    the order that `allocate_in_rounds` says. `oracle` is the plan worth most by the true values.
    All keep the same quotas and the same number of offers a lead; budgets bind the published
    matches only.
    """
    lots = np.random.default_rng([SEED, market.day.toordinal()]).random(true_value.size)
    return {
        "banyan": market.published,
        "broadcast": _in_turn(market, np.zeros_like(lots), lots),
        "rules": _in_turn(market, market.price, lots),
        "oracle": _best(market, true_value, lots),
    }


def _in_turn(market: DayMarket, liking: FloatArray, lots: FloatArray) -> IntArray:
    return allocate_in_rounds(
        market.lead,
        market.institution[market.product],
        market.product,
        liking,
        lots,
        market.quota,
        most_offers=policy.value().most_offers_per_lead,
    )


def _best(market: DayMarket, value: FloatArray, lots: FloatArray) -> IntArray:
    """Return the ranks under the exact optimum; a pair worth nothing is never shown."""
    gains = np.flatnonzero(value > 0)
    candidates = PairColumns(
        lead=market.lead,
        institution=market.institution[market.product],
        product=market.product,
        value=value,
        tie_break_key=np.asarray(lots * 2**32, np.int64),
    ).take(gains)
    plan = allocate(candidates, market.quota, most_offers=policy.value().most_offers_per_lead)
    is_shown = np.zeros(value.size, np.bool_)
    is_shown[gains[plan.chosen]] = True
    return rank_offers(market.lead, value, is_shown)
