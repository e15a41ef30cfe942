"""One factor on all prices, by which institutions pay 57% of the yield of a broadcast.

The factor of a market is 57% of the expected yield over the expected fees of broadcasts of sampled
leads. The sampled leads have numbers that their day does not reach, so they never arrive: they tell
how leads are in this market and nothing of any lead that is sent. They are spread over the year
that begins with the rate ceiling, so that trends and ends of months have their share."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from expectations import policy
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.market.catalogue import terms_on
from pipelines.simulate.market.channels import Channels
from pipelines.simulate.market.leads import DayLeads, find_firms, generate_leads
from pipelines.simulate.market.lenders import BUSINESS, Lenders, Products
from pipelines.simulate.outcomes.broadcast import (
    FEES_OF_YIELD,
    draw_broadcast,
    expected_fees,
    expected_yield,
    sum_of_cents,
)
from pipelines.simulate.outcomes.ground_truth import (
    PairTruth,
    compute_pair_truth,
    meets_hard_rules,
)
from pipelines.simulate.world import RATE_CAP_FROM, World

SAMPLED_DAYS, DAYS_APART = 33, timedelta(days=11)
"""Days of the sample: a year, with all weekdays and four of the last days of a month, an eighth."""
PEOPLE, FIRMS = 150, 300
"""Leads of a sampled day. Firms are more than half of the yield and most of its variance, with an
eighth of the leads."""
TRIED = 3_000
"""Numbers of leads among which a day's sample is found."""
YEAR_BEFORE = RATE_CAP_FROM - timedelta(days=365)
SAMPLED_PAIRS = 1_500_000
"""Most pairs by which the cost of random draws is estimated."""


@dataclass(frozen=True)
class Market:
    """The participants of a world without shocks: a shock changes leads, never their price."""

    world: World
    channels: Channels
    lenders: Lenders
    products: Products


def calibrate_prices(market: Market, day: date) -> float:
    """Return the factor on the prices of `Products` that is in force on `day`.

    Only the rate ceiling of the day matters.
    """
    world, products = market.world, market.products
    total_yield = total_fees = 0.0
    for leads, weight in _sample_leads(market, day):
        price, quota, is_active = terms_on(world, products, leads.day)
        is_firm = leads.traits["is_firm"].any()
        among = np.flatnonzero(is_active & ((products.segment == BUSINESS) == is_firm))
        scaled = _scale_quota(world, quota, leads.day, weight)
        pairs = draw_broadcast(world, market.lenders, products, leads, scaled, among=among)
        total_yield += weight * sum_of_cents(expected_yield(pairs))
        total_fees += weight * sum_of_cents(expected_fees(products, price, pairs))
    return round(FEES_OF_YIELD * total_yield / total_fees, 4) if total_fees else 1.0


def _sample_leads(market: Market, day: date) -> Iterator[tuple[DayLeads, float]]:
    """Yield leads of one segment and sampled day, each with the leads that one represents.

    The days are under the rate ceiling of `day`.
    """
    begin = YEAR_BEFORE if day < RATE_CAP_FROM else RATE_CAP_FROM
    number = market.world.leads_per_day + np.arange(TRIED)
    for position in range(SAMPLED_DAYS):
        sampled = begin + position * DAYS_APART
        is_firm = find_firms(market.world, market.channels, sampled, number)
        for members, most in ((number[~is_firm], PEOPLE), (number[is_firm], FIRMS)):
            part = members[:most]
            leads = generate_leads(market.world, market.channels, market.lenders, sampled, part)
            expected = market.world.leads_per_day * members.size / number.size
            yield leads, expected / max(part.size, 1)


def _scale_quota(world: World, quota: IntArray, day: date, weight: float) -> IntArray:
    """Return each product's quota in proportion to the sample, at random rounded up or down."""
    product = np.arange(quota.size)
    part = world.random.uniform("sampled quota", product, day.toordinal())
    return np.floor(quota / weight + part).astype(np.int64)


def application_cost(products: Products, price: FloatArray, pairs: PairTruth) -> FloatArray:
    """Return what each pair costs its institution: the expected fee, and the handling."""
    return expected_fees(products, price, pairs) + policy.value().application_cost


def measure_broadcast_cost(market: Market, day: date, price: FloatArray) -> FloatArray:
    """Return what each product pays for one unit of yearly yield if it gets a random draw of leads.

    Drawn are leads that meet its hard rules, each as if it had no other offer.

    Args:
        market: The market.
        day: A business date; only the rate ceiling matters.
        price: Price of each product.

    Returns:
        Cost by product; NaN without any yield.
    """
    products, size = market.products, market.products.lender.size
    count = max(1, min(PEOPLE + FIRMS, SAMPLED_PAIRS // (SAMPLED_DAYS * size)))
    cost, interest = np.zeros(size), np.zeros(size)
    for leads, _ in _sample_leads(market, day):
        first = min(count, leads.number.size)
        lead, product = (axis.ravel() for axis in np.indices((first, size)))
        is_eligible = meets_hard_rules(products, leads, lead, product)
        lead, product = lead[is_eligible], product[is_eligible]
        alone = compute_pair_truth(market.world, market.lenders, products, leads, lead, product)
        cost += np.bincount(product, application_cost(products, price, alone), size)
        interest += np.bincount(product, expected_yield(alone), size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(interest > 0, np.round(cost / interest, 6), np.nan)
