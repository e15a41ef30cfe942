"""The four policies of the scorecard: the ranked offers that each shows to the same leads."""

from collections.abc import Mapping, Sequence

import numpy as np

from expectations import policy
from pipelines.allocation.allocate import allocate
from pipelines.allocation.problem import (
    Limit,
    PairColumns,
    build_budget_limit,
    build_money_floor,
    build_ratio_limit,
)
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.evaluation.scorecard.market import DayMarket
from pipelines.evaluation.scorecard.truth import PairValues
from pipelines.simulate.outcomes.broadcast import allocate_in_rounds, rank_offers

BROADCAST = "broadcast"
POLICIES = ("banyan", BROADCAST, "rules", "oracle")
"""The published matches, and the policies they are compared with."""
ATTAINABLE = "attainable"
"""The best plan by all that columns can show: a bound, without figures of its own."""

SEED = 57
"""Seed of the random keys by which a broadcast is drawn and ties are broken; the day adds to it."""


def rank_by_policy(
    market: DayMarket, true: PairValues, shown_by_columns: PairValues
) -> Mapping[str, IntArray]:
    """Return, by policy, the rank of each pair among its lead's offers; 0 if it isn't shown.

    `banyan` is what was published. `broadcast` takes eligible products at random, `rules` the
    highest price first (an amount share as money, ignoring the probability of being paid), in the
    order of `allocate_in_rounds`. `oracle` is the plan of the greatest true surplus, `attainable`
    the one of the greatest surplus by all that columns can show. All respect the same quotas and
    the same number of offers per lead, and the leads of one phone share the offers of one lead.
    Budgets and what a plan guarantees bind the published matches and the two plans. The two plans
    rank a lead's offers by the person's benefit, as Banyan does.

    Args:
        market: The leads, pairs and quotas of the day.
        true: The pairs valued by the truth.
        shown_by_columns: The pairs valued by the truth averaged over hidden traits.
    """
    keys = np.random.default_rng([SEED, market.day.toordinal()]).random(market.lead.size)
    return {
        "banyan": market.published,
        BROADCAST: rank_broadcast(market, keys),
        "rules": _allocate_in_rounds(market, market.price, keys),
        "oracle": allocate_optimally(market, true, true.surplus, keys, with_guarantees=True),
        ATTAINABLE: allocate_optimally(
            market, shown_by_columns, shown_by_columns.surplus, keys, with_guarantees=True
        ),
    }


def rank_broadcast(market: DayMarket, keys: FloatArray) -> IntArray:
    """Return the rank of each pair under the broadcast that these random keys draw."""
    return _allocate_in_rounds(market, np.zeros_like(keys), keys)


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


def allocate_optimally(
    market: DayMarket,
    values: PairValues,
    objective: FloatArray,
    keys: FloatArray,
    *,
    with_guarantees: bool = False,
) -> IntArray:
    """Return the ranks under the plan of the greatest objective; it shows positive pairs only.

    The plan keeps quotas, offers a lead and budgets, the latter in expectation.

    Args:
        market: The leads, pairs and quotas of the day.
        values: The pairs valued by what the plan knows.
        objective: What the plan maximises.
        keys: Random keys that decide between equal pairs.
        with_guarantees: Whether the plan also keeps what Banyan's plan guarantees: least odds, no
            dumping, the floor on fees.
    """
    is_possible = objective > 0
    if with_guarantees:
        is_possible &= values.p_approve >= market.least_odds
    rows = np.flatnonzero(is_possible)
    pairs = PairColumns(
        lead=market.offers_lead,
        institution=market.institution[market.product],
        product=market.product,
        value=objective,
        tie_break_key=np.asarray(keys * 2**32, np.int64),
        sharing_lead=None if (market.offers_lead == market.lead).all() else market.lead,
    ).take(rows)
    limits = [build_budget_limit(pairs.product, values.spend[rows], market.budget)]
    if with_guarantees:
        limits += [limit.take(rows) for limit in _build_guarantees(market, values)]
    chosen = _choose(pairs, market.quota, [])
    if not all(limit.is_satisfied(np.flatnonzero(chosen)) for limit in limits):
        chosen = _choose(pairs, market.quota, limits)
    is_shown = np.zeros(objective.size, np.bool_)
    is_shown[rows[chosen]] = True
    return rank_offers(market.lead, values.benefit, is_shown)


def _build_guarantees(market: DayMarket, values: PairValues) -> list[Limit]:
    """Return the limits by which no product is a dump and fees cover the leads, over all pairs."""
    product, size = market.product, len(market.quota)

    def total(column: FloatArray) -> FloatArray:
        return np.bincount(product, column, minlength=size).astype(np.float64)

    one = np.ones_like(values.p_approve)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn_rate = total(values.p_approve) / total(one)
        drawn_cost = total(values.revenue) / total(values.p_funded)
    is_share = np.asarray(market.products["price_model"].to_pylist(), np.str_) == "cps"
    drawn_cost[is_share] = np.inf  # a share of the amount lent, the same for every choice of leads
    return [
        build_ratio_limit("approval_rate", product, -values.p_approve, -one, drawn_rate),
        build_ratio_limit("cost_per_funded", product, values.revenue, values.p_funded, drawn_cost),
        build_money_floor("fees", values.revenue, market.least_fees),
    ]


def _choose(pairs: PairColumns, quota: IntArray, limits: Sequence[Limit]) -> BoolArray:
    """Return the pairs that are chosen; without further limits the plan is exactly optimal."""
    most = policy.value().max_offers_per_lead
    return allocate(pairs, quota, max_offers=most, limits=limits).chosen
