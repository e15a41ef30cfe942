"""How leads were spread before Banyan, and what is true of any pair.

Broadcast: each lead is shown at random products whose hard rules it meets. Then the truth: how
likely each institution is to approve, the asker to take the loan, and the loan to fail. Part of
each rests on what no column shows, so no score can be perfect. docs/world.md says why each figure
is what it is.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import logistic
from pipelines.simulate.market.lenders import BUSINESS, Lenders, Products
from pipelines.simulate.market.requests import Requests
from pipelines.simulate.population.firms import FALLEN
from pipelines.simulate.shocks import INSTITUTION_TIGHTENS, SECTOR_FALLS
from pipelines.simulate.world import Columns, World

DRAWN = 12
"""Products that are looked at for each lead; the first few whose rules it meets are shown."""
SHOWN = [0.0, 0.0, 0.2, 0.4, 0.4]
"""How many leads are shown at 0, 1, 2, ... institutions."""

APPLIES = 0.85
"""Share of those shown a product who ask for it."""
SHARPNESS, STRICTNESS = 1.8, 3.55
"""Log-odds of approval for each unit of strength above the cut-off, and lost by all."""
LEAST_GRANTED = 0.5
"""Share of what is asked for that is granted to those who are barely approved."""
SHOPS_AROUND = 0.4
"""Log-odds of taking a loan that are lost with each unit of strength: the strong find others."""
DEMURS_AT_RANK = 0.15
"""Log-odds of taking a loan that are lost with each place further down."""

MONTH_ENDS_FROM = 28
"""From this day of a month on institutions have little left to lend."""
TIGHTENS = 1.5
"""How much stricter the institution becomes that tightens."""
FALLS, FAILS_MORE = 0.7, 1.0
"""Strength that firms of a falling sector lose, and log-odds by which more of them fail."""


@dataclass(frozen=True)
class Shown:
    """Pairs that were shown: columns of one length; the truth of each."""

    lead: IntArray
    """Position of the lead within its day."""
    product: IntArray
    rank: IntArray
    """At which place the lead saw the product; 1 is the first."""
    p_approve: FloatArray
    """Of those who are shown the product, whether they ask for it or not."""
    p_take: FloatArray
    """Of wanting the loan, once it is approved."""
    p_fund: FloatArray
    """Of taking the loan, once it is approved: of wanting it, and having taken none before it."""
    p_default: FloatArray
    """Of 90 days overdue within a year of funding."""
    apr: FloatArray
    amount: FloatArray
    """What is granted if it is approved, at most what was asked for."""


def shown(world: World, lenders: Lenders, products: Products, asked: Requests) -> Shown:
    """Return where the leads of a day were shown, with the truth of each pair."""
    chance, (day, number) = world.chance, asked.at
    draw = np.arange(DRAWN)
    drawn = chance.below(
        "drawn", products.lender.size, day[:, None], number[:, None], draw[None, :]
    )
    position = np.arange(number.size)
    fits = fitting(products, asked, np.broadcast_to(position[:, None], drawn.shape), drawn)
    lender = products.lender[drawn]
    for later in range(1, DRAWN):  # no institution sees a lead twice
        same = (lender[:, :later] == lender[:, later, None]) & fits[:, :later]
        fits[:, later] &= ~same.any(axis=1)
    wanted = chance.choice("shown at", SHOWN, day, number)
    fits &= np.cumsum(fits, axis=1) <= wanted[:, None]
    lead, place = np.nonzero(fits)
    rank = np.cumsum(fits, axis=1, dtype=np.int64)[lead, place]
    return answers(world, lenders, products, asked, lead, drawn[lead, place], rank)


def fitting(products: Products, asked: Requests, lead: IntArray, product: IntArray) -> BoolArray:
    """Return of which pairs the lead meets the product's hard rules, shape of `product`."""
    who = {name: column[lead] for name, column in asked.who.items()}
    amount, term = (asked.columns[name][lead] for name in ("amount", "term_months"))

    def at_least(value: FloatArray, floor: FloatArray) -> BoolArray:
        return np.isnan(floor) | (value >= floor)

    fits = (products.segment[product] == BUSINESS) == who["is_firm"]
    fits &= (products.amount_min[product] <= amount) & (amount <= products.amount_max[product])
    fits &= (products.term_min[product] <= term) & (term <= products.term_max[product])
    fits &= at_least(who["score"], products.least_score[product])
    fits &= at_least(who["income"], products.least_income[product])
    fits &= at_least(who["age"], products.age_min[product])
    fits &= at_least(-who["age"], -products.age_max[product])
    fits &= ~(products.refuses_idle[product] & who["idle"])
    fits &= products.regions[product, who["region"]]
    fits &= products.industries[product, who["industry"]] | ~who["is_firm"]
    return np.asarray(fits)


def answers(
    world: World,
    lenders: Lenders,
    products: Products,
    asked: Requests,
    lead: IntArray,
    product: IntArray,
    rank: IntArray | None = None,
) -> Shown:
    """Return the truth of any pairs of a day: how likely each is to be approved, taken, to fail.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        asked: The leads of the day.
        lead: Position of each pair's lead within the day.
        product: Position of each pair's product, whose hard rules the lead is taken to meet.
        rank: At which place the lead sees the product, from 1; the pairs are all that it sees.
            Without it each pair is judged as if it were the lead's only offer.
    """
    chance, day = world.chance, asked.day
    who = {name: column[lead] for name, column in asked.who.items()}
    asks_for = asked.columns["amount"][lead]
    at = asked.at[1][lead]
    pair = (np.full(lead.size, day.toordinal()), at, product)
    has_fallen = world.is_struck(SECTOR_FALLS, day) & who["is_firm"] & (who["industry"] == FALLEN)
    strength = strength_of(who, asks_for) - FALLS * has_fallen
    lender = products.lender[product]

    taste = lenders.region_taste[lender, who["region"]]
    taste += np.where(who["is_firm"], lenders.industry_taste[lender, who["industry"]], 0.0)
    mood = 0.15 * chance.normal("mood", lender, day.toordinal() // 7)
    mood = mood - lenders.closes_by[lender] * (day.day >= MONTH_ENDS_FROM)
    if world.is_struck(INSTITUTION_TIGHTENS, day):
        mood = mood - TIGHTENS * lenders.is_largest[lender]
    finds_out = 0.12 * who["hidden"] + 0.08 * chance.normal("pair", *pair)
    margin = strength + taste + mood + finds_out - products.cut[product]
    approve = APPLIES * logistic(SHARPNESS * margin - STRICTNESS)
    granted = np.round(asks_for * np.clip(0.6 + 0.2 * margin, LEAST_GRANTED, 1), -2)

    apr = _prices(world, products, asked, product, strength)
    dear = apr / world.dearest(day) - 0.95
    keen = 1.0 - 5 * dear - 1.5 * (1 - granted / asks_for) + lenders.liked[lender]
    keen = keen - SHOPS_AROUND * strength
    keen = keen + 0.2 * chance.normal("keen", *pair)
    if rank is not None:
        keen = keen - DEMURS_AT_RANK * (rank - 1)
    default = logistic(
        -2.8
        - 0.45 * strength
        - 0.6 * who["hidden"]
        - 0.5 * who["stability"]
        - 0.5 * who["buyer"]
        + FAILS_MORE * has_fallen
    )
    take = logistic(keen)
    truth = Shown(
        lead=lead,
        product=product,
        rank=np.ones_like(lead) if rank is None else rank,
        p_approve=np.where(who["is_invented"] | (who["ring"] >= 0), 0.005, approve),
        p_take=take,
        p_fund=take,
        p_default=default,
        apr=apr,
        amount=granted,
    )
    return truth if rank is None else replace(truth, p_fund=one_loan_each(truth))


def _prices(
    world: World, products: Products, asked: Requests, product: IntArray, strength: FloatArray
) -> FloatArray:
    """Return what each product's grid of four steps asks of a lead this strong."""
    step = np.clip(np.floor(3 - strength), 0, 3) / 3
    least, most = (
        limit[product] * world.dearest(asked.day) for limit in (products.apr_min, products.apr_max)
    )
    return np.asarray(
        np.minimum(np.round(least + (most - least) * step, 4), world.dearest(asked.day))
    )


def one_loan_each(truth: Shown) -> FloatArray:
    """Return the chance that each offer is taken up: whoever took one before takes no other."""
    order = np.lexsort((truth.rank, truth.lead))
    lead = truth.lead[order]
    passes = 1 - truth.p_approve[order] * truth.p_take[order]
    place = np.arange(lead.size) - np.searchsorted(lead, lead)
    none_before = np.ones(lead.size)
    for back in range(1, int(place.max(initial=0)) + 1):
        has_one = np.flatnonzero(place >= back)
        none_before[has_one] *= passes[has_one - back]
    p_fund = np.empty(lead.size)
    p_fund[order] = none_before * truth.p_take[order]
    return p_fund


def strength_of(who: Columns, amount: FloatArray) -> FloatArray:
    """Return how strong a lead is by what every lender can see; about standard normal."""
    is_firm = who["is_firm"]
    score = np.where(np.isnan(who["score"]), 615.0, who["score"])
    months = np.log(np.maximum(amount, 1) / np.maximum(who["income"], 100))
    asks = np.where(is_firm, months + 4.0, months + 0.1)
    means = np.log(np.maximum(who["income"], 100))
    means = np.where(is_firm, means - 14.4, means - 8.8)
    young = np.where(is_firm, np.clip(3 - who["age"], 0, 3) * 0.25, 0.0)
    strength = (
        0.6 * (score - 645) / 60
        - 1.8 * (who["burden"] - 0.23)
        - 0.35 * asks
        + 0.3 * means
        - 1.0 * who["idle"]
        - young
    )
    return np.asarray(np.round(strength, 6), np.float64)
