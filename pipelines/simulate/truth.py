"""The truth of a simulated home, for those who may know it: the world's answers and the scorecard.

Nothing is looked up but the world's size and seed in `truth/world.json`; leads, products and the
truth of any pair are drawn again by address. The pipeline never imports this.
"""

import json
from datetime import date

import numpy as np

from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.simulate.market.catalogue import product_names
from pipelines.simulate.market.requests import Requests, requests
from pipelines.simulate.outcomes.ground_truth import Shown, answers, fitting, shown
from pipelines.simulate.shocks import Shock
from pipelines.simulate.simulator import Market
from pipelines.simulate.world import Texts, World

SIZE = ("leads_per_day", "institutions", "channels", "seed")


def world_of(settings: Settings) -> Market:
    """Return the market that `settings.home` was simulated from.

    Raises:
        InputMissing: The home was not simulated.
    """
    file = settings.truth / "world.json"
    try:
        size = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise InputMissing(
            f"{settings.home} holds no simulated market: there is no {file}. Nothing was done. "
            "Only a market that `python -m pipelines simulate` wrote knows its truth."
        ) from None
    shocks = tuple(Shock.parse(text) for text in size["shocks"])
    world = World(settings, **{name: size[name] for name in SIZE}, shocks=shocks)
    return Market(world, size["dirt"])


def asked_on(market: Market, day: date) -> Requests:
    """Return the leads of `day`, clean and complete; their order gives each its position."""
    return requests(market.world, market.channels, market.lenders, day)


def broadcast_of(market: Market, asked: Requests) -> Shown:
    """Return the pairs that a broadcast shows, and their truth."""
    return shown(market.world, market.lenders, market.products, asked)


def truth_of(
    market: Market,
    asked: Requests,
    lead: IntArray,
    product: IntArray,
    rank: IntArray | None = None,
) -> Shown:
    """Return the truth of any pairs of a day.

    Args:
        market: See `world_of`.
        asked: See `asked_on`.
        lead: Positions of leads, see `lead_positions`.
        product: Positions of products, see `product_positions`.
        rank: At which place each lead sees the product, from 1; the pairs are all that the leads
            see. Without it each pair is judged as if it were its lead's only offer.
    """
    world, lenders, products = market.world, market.lenders, market.products
    return answers(world, lenders, products, asked, lead, product, rank)


def fits(market: Market, asked: Requests, lead: IntArray, product: IntArray) -> BoolArray:
    """Return of which pairs the lead meets the product's hard rules, whatever the day's quota."""
    return fitting(market.products, asked, lead, product)


def lead_positions(asked: Requests, lead_ids: Texts) -> IntArray:
    """Return the position of each lead id within its day; -1 where the day has no such lead."""
    return _positions(asked.columns["lead_id"], lead_ids)


def product_positions(market: Market, product_ids: Texts) -> IntArray:
    """Return the position of each product id; -1 where the market has no such product."""
    return _positions(product_names(market.products), product_ids)


def _positions(ordered: Texts, wanted: Texts) -> IntArray:
    place = np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)
    return np.asarray(np.where(ordered[place] == wanted, place, -1), np.int64)
