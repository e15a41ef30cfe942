"""The four policies of the scorecard: the ranked offers that each shows to the same leads."""

from collections.abc import Mapping

import numpy as np

from expectations import policy
from pipelines.allocation.allocate import allocate
from pipelines.allocation.problem import PairColumns
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.evaluation.scorecard.market import DayMarket
from pipelines.simulate.outcomes.broadcast import allocate_in_rounds, rank_offers

POLICIES = ("banyan", "broadcast", "rules", "oracle")
"""The published matches, and the policies they are compared with."""

SEED = 57
"""Seed of the random keys by which a broadcast is drawn and ties are broken; the day adds to it."""


def rank_by_policy(market: DayMarket, true_value: FloatArray) -> Mapping[str, IntArray]:
    """Return, by policy, the rank of each pair among its lead's offers; 0 if it isn't shown.

    `banyan` is what was published. `broadcast` takes eligible products at random, `rules` the
    highest price first (an amount share as money, ignoring the probability of being paid), in the
    order of `allocate_in_rounds`. `oracle` is the plan of the highest true value. All respect the
    same quotas and the same number of offers per lead, and the leads of one phone share the offers
    of one lead; budgets bind the published matches only.
    """
    keys = np.random.default_rng([SEED, market.day.toordinal()]).random(true_value.size)
    return {
        "banyan": market.published,
        "broadcast": _allocate_in_rounds(market, np.zeros_like(keys), keys),
        "rules": _allocate_in_rounds(market, market.price, keys),
        "oracle": _allocate_optimally(market, true_value, keys),
    }


def _allocate_in_rounds(market: DayMarket, preference: FloatArray, keys: FloatArray) -> IntArray:
    round_shown = allocate_in_rounds(
        market.offers_lead,
        market.institution[market.product],
        market.product,
        preference,
        keys,
        market.quota,
        max_offers=policy.value().max_offers_per_lead,
    )
    return rank_offers(market.lead, -round_shown.astype(np.float64), round_shown > 0)


def _allocate_optimally(market: DayMarket, value: FloatArray, keys: FloatArray) -> IntArray:
    """Return the ranks under the exact optimum; a pair without positive value is never shown."""
    positive = np.flatnonzero(value > 0)
    pairs = PairColumns(
        lead=market.offers_lead,
        institution=market.institution[market.product],
        product=market.product,
        value=value,
        tie_break_key=np.asarray(keys * 2**32, np.int64),
        sharing_lead=None if (market.offers_lead == market.lead).all() else market.lead,
    ).take(positive)
    plan = allocate(pairs, market.quota, max_offers=policy.value().max_offers_per_lead)
    is_shown = np.zeros(value.size, np.bool_)
    is_shown[positive[plan.chosen]] = True
    return rank_offers(market.lead, value, is_shown)
