"""What channels cost: the price of a day's leads follows what a broadcast would earn on them."""

from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.simulate.market.channels import Channels, shares_on
from pipelines.simulate.market.lenders import Lenders, Products
from pipelines.simulate.market.requests import Requests
from pipelines.simulate.outcomes.baseline_allocation import hand_out
from pipelines.simulate.outcomes.ground_truth import answers, fitting
from pipelines.simulate.world import CURRENCY, World

COST_OF_YIELD = 0.57
"""What acquiring the borrowers costs of what their loans yield in a year, under broadcast: 20.86
points of 36%, in the consumer-finance figures that this project starts from."""
SET_ASIDE = np.array([0.065, 0.105])
"""Share of people's and of firms' leads that no lender sees: repeated, suppressed, without consent.
A market has fewer firms than people, so they come again sooner."""

CAMPAIGNS = np.array([4, 3, 2, 1]) / 10
"""Shares of a channel's campaigns."""
JUDGED = 5_000
"""Leads whose worth is looked at: those of a small day several times, the first of a large one."""
DRAWINGS = 4
DRAWN, MOST_OFFERS = 400, 5
"""Products that are looked at for each lead, drawn where there are more, and offers at most."""


def worth(
    world: World, lenders: Lenders, products: Products, asked: Requests, places: np.ndarray
) -> float:
    """Return what a broadcast of a day's leads earns a year, as expected, in currency.

    Advertisers bid for traffic what it is worth to them, so this is what its price follows: no
    more on a day of many strong leads than these leads are worth, and no less.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        asked: The first `JUDGED` leads of the day, or all.
        places: Leads that each product takes on the day.
    """
    leads, judged = world.leads_per_day, min(asked.number.size, JUDGED)
    drawings = max(1, min(DRAWINGS, 2 * JUDGED // judged))
    day, number = asked.at[0][:judged, None], asked.at[1][:judged, None]
    count = products.lender.size
    draw = np.arange(min(count, DRAWN))[None, :]
    open_places = np.ceil(places * (judged / leads)).astype(np.int64)
    is_firm = asked.who["is_firm"].astype(np.int64)
    is_heard = (world.chance.uniform("set aside", *asked.at) >= SET_ASIDE[is_firm])[:judged]
    is_heard &= (asked.who["ring"] < 0)[:judged] & ~asked.who["is_invented"][:judged]
    found = 0.0
    for drawing in range(drawings):
        product = np.broadcast_to(draw, (judged, draw.size))
        if count > DRAWN:
            product = world.chance.below("bid", count, day, number, draw, drawing)
        lead = np.broadcast_to(np.arange(judged)[:, None], product.shape)
        fits = fitting(products, asked, lead, product) & is_heard[:, None]
        lead, product = lead[fits], product[fits]
        lot = world.chance.uniform("bid", lead, product, drawing)
        rank = hand_out(
            lead,
            products.lender[product],
            product,
            np.zeros(lead.size),
            lot,
            open_places,
            most_offers=MOST_OFFERS,
        )
        is_shown = rank > 0
        truth = answers(
            world, lenders, products, asked, lead[is_shown], product[is_shown], rank[is_shown]
        )
        # Whole cents add up to the same on every machine, in any order.
        cents = truth.p_approve * truth.p_fund * truth.amount * truth.apr * 100
        found += int(np.round(cents).astype(np.int64).sum()) / 100
    return found / drawings * leads / judged


def spend(world: World, those: Channels, day: date, earned: float) -> pa.Table:
    """Return the spend of every channel's campaigns on `day`, with the channel's position.

    Args:
        world: The world.
        those: Its channels.
        day: A business date.
        earned: See `worth`.
    """
    chance = world.chance
    share = shares_on(world, those, day)
    expected = world.leads_per_day * share[:, None] * CAMPAIGNS
    paid = expected * those.cost[:, None]
    price = COST_OF_YIELD * earned / paid.sum()
    channel, campaign = (axis.ravel() for axis in np.indices(expected.shape))
    address = (np.full(channel.size, day.toordinal()), channel, campaign)
    clicks = expected.ravel() * (6 + 6 * chance.uniform("clicks", *address))
    shows = clicks * (30 + 40 * chance.uniform("shows", *address))
    swing = 1 + 0.04 * chance.normal("spend", *address)
    numbers = (campaign + 1).astype(np.str_)
    return pa.table(
        {
            "channel": channel,
            "date": pa.array([day] * channel.size, pa.date32()),
            "campaign_id": np.char.add(np.char.add(those.name[channel], "-c"), numbers),
            "impressions": np.floor(shows).astype(np.int64),
            "clicks": np.floor(clicks).astype(np.int64),
            "spend": np.round(paid.ravel() * swing * price, 2),
            "currency": np.full(channel.size, CURRENCY),
        }
    )
