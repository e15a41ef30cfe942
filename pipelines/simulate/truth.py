"""The truth of a simulated home, for the world's responses and the scorecard only.

Only the world's size and seed are read, from `truth/world.json`; leads, products and the truth of
any pair are computed again from their addresses. The pipeline never imports this module."""

from datetime import date

import numpy as np

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json
from pipelines.simulate.market.catalogue import product_ids
from pipelines.simulate.market.leads import DayLeads, generate_leads
from pipelines.simulate.outcomes.broadcast import broadcast
from pipelines.simulate.outcomes.ground_truth import (
    PairTruth,
    compute_pair_truth,
    expect_pair_truth,
    meets_hard_rules,
)
from pipelines.simulate.shocks import Shock
from pipelines.simulate.simulate import SIZE, UNSTATED, WORLD_FILE
from pipelines.simulate.simulator import SimulatedMarket
from pipelines.simulate.world import Contagion, TextArray, World


def load_simulated_market(settings: Settings) -> SimulatedMarket:
    """Return the market from which `settings.home` was simulated.

    Raises:
        InputMissing: The home was not simulated.
    """
    file = settings.truth / WORLD_FILE
    try:
        plan = UNSTATED | read_json(file)
    except FileNotFoundError:
        raise InputMissing(
            f"{settings.home} holds no simulated market: {file} does not exist. Nothing was done. "
            "The truth is known only of a market that `python -m pipelines simulate` wrote."
        ) from None
    shocks = tuple(Shock.parse(text) for text in plan["shocks"])
    size = {name: plan[name] for name in SIZE}
    world = World(
        settings,
        **size,
        shocks=shocks,
        sealed=plan["sealed"],
        contagion=Contagion(plan["contagion"]),
    )
    return SimulatedMarket(world, plan["corruption"])


def leads_on(market: SimulatedMarket, day: date) -> DayLeads:
    """Return all leads of `day`, not corrupted; their order gives each its position."""
    return generate_leads(market.world, market.channels, market.lenders, day)


def broadcast_pairs(market: SimulatedMarket, leads: DayLeads) -> PairTruth:
    """Return the pairs that a broadcast shows, and their truth."""
    return broadcast(market.world, market.lenders, market.products, leads)


def pair_truth(
    market: SimulatedMarket,
    leads: DayLeads,
    lead: IntArray,
    product: IntArray,
    rank: IntArray | None = None,
) -> PairTruth:
    """Return the truth of any pairs of a day.

    Args:
        market: See `load_simulated_market`.
        leads: See `leads_on`.
        lead: Positions of leads, see `lead_positions`.
        product: Positions of products, see `product_positions`.
        rank: Rank of each product among its lead's offers, from 1; the pairs are all these offers.
            Without it each pair is computed as if it were its lead's only offer.
    """
    world, lenders, products = market.world, market.lenders, market.products
    return compute_pair_truth(world, lenders, products, leads, lead, product, rank)


def expected_pair_truth(
    market: SimulatedMarket, leads: DayLeads, lead: IntArray, product: IntArray
) -> PairTruth:
    """Return the truth of any pairs averaged over hidden traits; see `expect_pair_truth`."""
    world, lenders, products = market.world, market.lenders, market.products
    return expect_pair_truth(world, lenders, products, leads, lead, product)


def meets_rules(
    market: SimulatedMarket, leads: DayLeads, lead: IntArray, product: IntArray
) -> BoolArray:
    """Return which pairs meet the product's hard rules, regardless of the day's quota."""
    return meets_hard_rules(market.products, leads, lead, product)


def lead_positions(leads: DayLeads, lead_ids: TextArray) -> IntArray:
    """Return the position of each lead id within its day; -1 where the day has no such lead."""
    return _positions(leads.columns["lead_id"], lead_ids)


def product_positions(market: SimulatedMarket, ids: TextArray) -> IntArray:
    """Return the position of each product id; -1 where the market has no such product."""
    return _positions(product_ids(market.products), ids)


def _positions(ordered: TextArray, ids: TextArray) -> IntArray:
    position = np.minimum(np.searchsorted(ordered, ids), ordered.size - 1)
    return np.asarray(np.where(ordered[position] == ids, position, -1), np.int64)
