"""Allocation before Banyan: the broadcast, allocation in rounds, and the price of leads.

Each lead is shown to random products whose hard rules it meets. Fees and what channels cost follow
from what such a broadcast is expected to earn."""

from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.market.channels import Channels, channel_shares
from pipelines.simulate.market.leads import DayLeads
from pipelines.simulate.market.lenders import Lenders, Products
from pipelines.simulate.outcomes.ground_truth import (
    PairTruth,
    compute_pair_truth,
    meets_hard_rules,
)
from pipelines.simulate.world import CURRENCY, World

DRAWS_PER_LEAD = 12
"""Products drawn for each lead; the first few whose rules it meets are shown."""
SHOWN_TO = [0.0, 0.0, 0.2, 0.4, 0.4]
"""Probability that a lead is shown to 0, 1, 2, ... institutions."""

FEES_OF_YIELD = 0.57
"""What institutions pay to acquire loans, as a share of their yield in a year, under broadcast:
20.86 points of 36%, in the consumer-finance figures that this project starts from."""
CHANNELS_SHARE = 0.9
"""Share of these fees that channels are paid; the platform lives on the rest."""
EXCLUDED = np.array([0.065, 0.105])
"""Share of people's and of firms' leads that no lender sees: repeated, suppressed, without consent.
A market has fewer firms than people, so firms apply again sooner."""
CAMPAIGNS = np.array([4, 3, 2, 1]) / 10
"""Shares of a channel's campaigns."""
SAMPLED_LEADS = 5_000
"""Leads by which a day's expected fees are estimated: a small day's leads several times, the first
of a large one."""
DRAWINGS = 4
SAMPLED_PRODUCTS, MAX_OFFERS = 400, 5
"""Most products considered for each lead, drawn where there are more; most offers of one lead."""


def broadcast(world: World, lenders: Lenders, products: Products, leads: DayLeads) -> PairTruth:
    """Return the pairs that a broadcast shows, with their truth."""
    random, (day, number) = world.random, leads.address
    draw = np.arange(DRAWS_PER_LEAD)
    address = (day[:, None], number[:, None], draw[None, :])
    drawn = random.integers("drawn", products.lender.size, *address)
    position = np.arange(number.size)
    lead = np.broadcast_to(position[:, None], drawn.shape)
    is_shown = meets_hard_rules(products, leads, lead, drawn)
    lender = products.lender[drawn]
    for later in range(1, DRAWS_PER_LEAD):  # an institution sees a lead once
        same = (lender[:, :later] == lender[:, later, None]) & is_shown[:, :later]
        is_shown[:, later] &= ~same.any(axis=1)
    limit = random.choice("shown at", SHOWN_TO, day, number)
    is_shown &= np.cumsum(is_shown, axis=1) <= limit[:, None]
    lead, column = np.nonzero(is_shown)
    rank = np.cumsum(is_shown, axis=1, dtype=np.int64)[lead, column]
    return compute_pair_truth(world, lenders, products, leads, lead, drawn[lead, column], rank)


def allocate_in_rounds(
    lead: IntArray,
    institution: IntArray,
    product: IntArray,
    preference: FloatArray,
    tie_break: FloatArray,
    quota: IntArray,
    *,
    max_offers: int,
) -> IntArray:
    """Return each pair's rank among its lead's offers, 1 is the first; 0 if it is not shown.

    In each round every lead requests the product that it prefers of the products still open to it.
    Where a quota has fewer left than are requested, the lowest tie-break keys come first. The
    limits of a plan hold: at most `max_offers` a lead, one an institution, and each product's
    quota.

    Args:
        lead: Code of each pair's lead, as are `institution` and `product`.
        institution: An institution owns whole products.
        product: At most one pair for each lead and product; more where leads share one code.
        preference: Greatest first, within a lead; equal ones by `tie_break`.
        tie_break: One key for each pair.
        quota: Most leads of each product, by code.
        max_offers: Most offers of one lead.
    """
    rank = np.zeros(lead.size, np.int64)
    offers = np.zeros(int(lead.max(initial=-1)) + 1, np.int64)
    remaining = quota.copy()
    waiting = np.lexsort((tie_break, -preference, lead))
    while waiting.size:
        is_first = np.diff(lead[waiting], prepend=-1) != 0
        requests = waiting[is_first]
        requests = requests[np.lexsort((tie_break[requests], product[requests]))]
        granted = requests[_position_in_group(product[requests]) < remaining[product[requests]]]
        offers[lead[granted]] += 1
        rank[granted] = offers[lead[granted]]
        remaining -= np.bincount(product[granted], minlength=remaining.size)
        granted_by = np.full(offers.size, -1)
        granted_by[lead[granted]] = institution[granted]
        waiting = waiting[~is_first]
        waiting = waiting[
            (remaining[product[waiting]] > 0)
            & (offers[lead[waiting]] < max_offers)
            & (granted_by[lead[waiting]] != institution[waiting])
        ]
    return rank


def rank_offers(lead: IntArray, preference: FloatArray, is_shown: BoolArray) -> IntArray:
    """Return the rank of each shown pair within its lead, most preferred first; 0 if not shown."""
    rows = np.flatnonzero(is_shown)
    rows = rows[np.lexsort((rows, -preference[rows], lead[rows]))]
    rank = np.zeros(lead.size, np.int64)
    rank[rows] = _position_in_group(lead[rows]) + 1
    return rank


def _position_in_group(group: IntArray) -> IntArray:
    """Return 0, 1, 2 ... within each run of equal groups."""
    return np.asarray(np.arange(group.size) - np.searchsorted(group, group), np.int64)


def expected_broadcast_fees(
    world: World,
    lenders: Lenders,
    products: Products,
    leads: DayLeads,
    *,
    price: FloatArray,
    quota: IntArray,
) -> float:
    """Return what institutions are expected to pay for a broadcast of a day's leads, in currency.

    Platforms bid for traffic by what they expect to earn from it, so the price of leads follows
    this figure: it is higher on a day of many strong leads.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        leads: The first `SAMPLED_LEADS` leads of the day, or all.
        price: Price of each product.
        quota: Leads that each product takes on the day.
    """
    sampled = min(leads.number.size, SAMPLED_LEADS)
    drawings = max(1, min(DRAWINGS, 2 * SAMPLED_LEADS // sampled))
    scaled_quota = np.ceil(quota * (sampled / world.leads_per_day)).astype(np.int64)
    total = 0.0
    for drawing in range(drawings):
        pairs = draw_broadcast(world, lenders, products, leads, scaled_quota, drawing)
        total += sum_of_cents(expected_fees(products, price, pairs))
    return total / drawings * world.leads_per_day / sampled


def draw_broadcast(
    world: World,
    lenders: Lenders,
    products: Products,
    leads: DayLeads,
    quota: IntArray,
    drawing: int = 0,
    *,
    among: IntArray | None = None,
) -> PairTruth:
    """Return the pairs of a broadcast that leaves no quota unused, and their truth.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        leads: Leads of a day, of which the first `SAMPLED_LEADS` are shown.
        quota: Leads that each product takes of these.
        drawing: Another number is another broadcast.
        among: The products that are considered, `SAMPLED_PRODUCTS` for each lead; None: all.
    """
    sampled = min(leads.number.size, SAMPLED_LEADS)
    is_firm = leads.traits["is_firm"].astype(np.int64)
    is_seen = (world.random.uniform("excluded", *leads.address) >= EXCLUDED[is_firm])[:sampled]
    is_seen &= (leads.traits["ring"] < 0)[:sampled] & ~leads.traits["is_fake"][:sampled]
    among = np.arange(products.lender.size) if among is None else among
    product = _sampled_products(world, leads, among, sampled, drawing)
    lead = np.broadcast_to(np.arange(sampled)[:, None], product.shape)
    is_possible = meets_hard_rules(products, leads, lead, product) & is_seen[:, None]
    is_possible &= allows_to_show(lenders, products, leads, lead, product)
    lead, product = lead[is_possible], product[is_possible]
    rank = allocate_in_rounds(
        lead,
        products.lender[product],
        product,
        np.zeros(lead.size),
        world.random.uniform("bid", lead, product, drawing),
        quota,
        max_offers=MAX_OFFERS,
    )
    pairs = lead[rank > 0], product[rank > 0], rank[rank > 0]
    return compute_pair_truth(world, lenders, products, leads, *pairs)


def allows_to_show(
    lenders: Lenders, products: Products, leads: DayLeads, lead: IntArray, product: IntArray
) -> BoolArray:
    """Return which pairs the consent allows, with each column that a hard rule reads sent.

    Args:
        lenders: The institutions.
        products: Their products.
        leads: Leads with all columns of their feed.
        lead: Position of each pair's lead.
        product: Position of each pair's product; the result has its shape.
    """
    columns, is_firm = leads.columns, leads.traits["is_firm"]
    scopes, scope = np.unique(columns["consent_scope"], return_inverse=True)
    names = [set(text.split("|")) for text in scopes]
    is_named = np.array([[n == {"all"} or name in n for name in lenders.name] for n in names])
    has_income = (is_firm | ~np.isnan(columns["income_monthly"]))[lead]
    has_employment = (is_firm | (columns["employment"] != ""))[lead]
    return np.asarray(
        is_named[scope[lead], products.lender[product]]
        & (has_income | np.isnan(products.min_income[product]))
        & (has_employment | ~products.refuses_idle[product])
    )


def expected_yield(pairs: PairTruth) -> FloatArray:
    """Return the expected interest of each pair in a year."""
    return np.asarray(pairs.p_approve * pairs.p_fund * pairs.amount * pairs.apr)


def expected_fees(products: Products, price: FloatArray, pairs: PairTruth) -> FloatArray:
    """Return what the institution of each pair pays in expectation, at these prices by product."""
    approved = np.asarray(pairs.p_approve, np.float64)
    due = np.stack([np.ones_like(approved), approved, approved * pairs.p_fund * pairs.amount])
    model = products.price_model[pairs.product]
    return np.asarray(price[pairs.product] * due[model, np.arange(approved.size)])


def sum_of_cents(money: FloatArray) -> float:
    """Return the sum in whole cents, which is the same on every machine, in any order."""
    return int(np.round(money * 100).astype(np.int64).sum()) / 100


def _sampled_products(
    world: World, leads: DayLeads, among: IntArray, sampled: int, drawing: int
) -> IntArray:
    """Return the products that are considered for each sampled lead, one row a lead."""
    draw = np.arange(min(among.size, SAMPLED_PRODUCTS))[None, :]
    if among.size <= SAMPLED_PRODUCTS:
        return np.broadcast_to(among[None, :], (sampled, among.size))
    day, number = (part[:sampled, None] for part in leads.address)
    return among[world.random.integers("bid", among.size, day, number, draw, drawing)]


def channel_spend(world: World, channels: Channels, day: date, day_fees: float) -> pa.Table:
    """Return the spend of every channel's campaigns on `day`, with the channel's position.

    Args:
        world: The world.
        channels: Its channels.
        day: A business date.
        day_fees: See `expected_broadcast_fees`.
    """
    random = world.random
    share = channel_shares(world, channels, day)
    expected = world.leads_per_day * share[:, None] * CAMPAIGNS
    unscaled = expected * channels.cost[:, None]
    scale = CHANNELS_SHARE * day_fees / unscaled.sum()
    channel, campaign = (axis.ravel() for axis in np.indices(expected.shape))
    address = (np.full(channel.size, day.toordinal()), channel, campaign)
    clicks = expected.ravel() * (6 + 6 * random.uniform("clicks", *address))
    impressions = clicks * (30 + 40 * random.uniform("shows", *address))
    noise = 1 + 0.04 * random.normal("spend", *address)
    numbers = (campaign + 1).astype(np.str_)
    return pa.table(
        {
            "channel": channel,
            "date": pa.array([day] * channel.size, pa.date32()),
            "campaign_id": np.char.add(np.char.add(channels.name[channel], "-c"), numbers),
            "impressions": np.floor(impressions).astype(np.int64),
            "clicks": np.floor(clicks).astype(np.int64),
            "spend": np.round(unscaled.ravel() * noise * scale, 2),
            "currency": np.full(channel.size, CURRENCY),
        }
    )
