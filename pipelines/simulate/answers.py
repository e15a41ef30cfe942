"""How leads were spread before Banyan, and what the institutions say happened.

Broadcast: each lead is shown at random products whose hard rules it meets. Then the truth: how
likely each institution is to approve, the person to take the loan, and the loan to fail. Part of
each rests on what no column shows, so no score can be perfect.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.simulate.chance import Floats, Ints, logistic
from pipelines.simulate.lenders import BUSINESS, Lenders, Products
from pipelines.simulate.requests import Requests
from pipelines.simulate.world import Columns, World

DRAWN = 12
"""Products that are looked at for each lead; the first few whose rules it meets are shown."""
SHOWN = [0.0, 0.45, 0.3, 0.15, 0.1]
"""How many leads are shown at 0, 1, 2, ... institutions."""

DEMURS_AT_RIVALS, DEMURS_AT_RANK = 0.35, 0.2
"""Log-odds of taking a loan that are lost with each rival offer, and with each place further down.
Ours: people compare, and most go to the lender that they are shown first."""

MONTH_ENDS_FROM = 28
"""From this day of a month on institutions have little left to lend."""


@dataclass(frozen=True)
class Shown:
    """Pairs that were shown: columns of one length; the truth of each."""

    lead: Ints
    """Position of the lead within its day."""
    product: Ints
    rank: Ints
    """At which place the lead saw the product; 1 is the first."""
    p_approve: Floats
    p_fund: Floats
    """Of taking the loan if it is approved."""
    p_default: Floats
    """Of 90 days overdue within a year of funding."""
    apr: Floats
    amount: Floats


def shown(world: World, lenders: Lenders, products: Products, asked: Requests) -> Shown:
    """Return where the leads of a day were shown, with the truth of each pair."""
    chance, (day, number) = world.chance, asked.at
    draw = np.arange(DRAWN)
    drawn = chance.below(
        "drawn", products.lender.size, day[:, None], number[:, None], draw[None, :]
    )
    fits = fitting(products, asked, np.broadcast_to(number[:, None], drawn.shape), drawn)
    lender = products.lender[drawn]
    for later in range(1, DRAWN):  # no institution sees a lead twice
        same = (lender[:, :later] == lender[:, later, None]) & fits[:, :later]
        fits[:, later] &= ~same.any(axis=1)
    wanted = chance.choice("shown at", SHOWN, day, number)
    fits &= np.cumsum(fits, axis=1) <= wanted[:, None]
    lead, place = np.nonzero(fits)
    rank = np.cumsum(fits, axis=1, dtype=np.int64)[lead, place]
    return answers(world, lenders, products, asked, lead, drawn[lead, place], rank=rank)


def fitting(products: Products, asked: Requests, lead: Ints, product: Ints) -> NDArray[np.bool_]:
    """Return of which pairs the lead meets the product's hard rules, shape of `product`."""
    who = {name: column[lead] for name, column in asked.who.items()}
    amount, term = (asked.columns[name][lead] for name in ("amount", "term_months"))

    def at_least(value: Floats, floor: Floats) -> NDArray[np.bool_]:
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


def answers(  # noqa: PLR0913 - what the answers to a pair depend on
    world: World,
    lenders: Lenders,
    products: Products,
    asked: Requests,
    lead: Ints,
    product: Ints,
    *,
    rank: Ints,
    rivals: Ints | None = None,
) -> Shown:
    """Return the truth of any pairs of a day: how likely each is to be approved, taken, to fail.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        asked: The leads of the day.
        lead: Position of each pair's lead within the day.
        product: Position of each pair's product, whose hard rules the lead is taken to meet.
        rank: At which place the lead sees the product, from 1.
        rivals: How many other offers the lead sees; without it, the lead's other pairs in here.
    """
    chance, day = world.chance, asked.day
    who = {name: column[lead] for name, column in asked.who.items()}
    amount = asked.columns["amount"][lead]
    pair = (np.full(lead.size, day.toordinal()), lead, product)
    strength = strength_of(who, amount)
    lender = products.lender[product]
    taste = lenders.region_taste[lender, who["region"]]
    taste += np.where(who["is_firm"], lenders.industry_taste[lender, who["industry"]], 0.0)
    month_end = -0.5 * (day.day >= MONTH_ENDS_FROM)
    drift = 0.15 * chance.normal("mood", lender, day.toordinal() // 7)
    unseen = 0.55 * who["hidden"] + 0.5 * chance.normal("pair", *pair)
    strict = products.cut[product]
    approve = logistic(1.5 * (strength + taste + unseen + drift + month_end - strict) - 0.75)
    risk = np.clip(0.5 - 0.2 * strength, 0, 1)
    apr = np.round(
        products.apr_min[product]
        + (products.apr_max[product] - products.apr_min[product]) * risk, 4
    )  # fmt: skip
    if rivals is None:
        rivals = np.bincount(lead, minlength=asked.channel.size)[lead] - 1
    keen = 1.6 - 9 * (apr - 0.10) + 0.4 * chance.normal("keen", *pair)
    keen = keen - DEMURS_AT_RIVALS * rivals - DEMURS_AT_RANK * (rank - 1)
    default = logistic(-3.3 - 0.8 * strength - 0.7 * who["hidden"] - 0.4 * who["stability"])
    return Shown(
        lead=lead,
        product=product,
        rank=rank,
        p_approve=np.where(who["is_invented"] | (who["ring"] >= 0), 0.01, approve),
        p_fund=logistic(keen),
        p_default=default,
        apr=apr,
        amount=amount,
    )


def strength_of(who: Columns, amount: Floats) -> Floats:
    """Return how strong a lead is by what every lender can see; about standard normal."""
    is_firm = who["is_firm"]
    score = np.where(np.isnan(who["score"]), 615.0, who["score"])
    months = np.log(np.maximum(amount, 1) / np.maximum(who["income"], 100))
    asks = np.where(is_firm, months + 2.2, months - 1.0)
    means = np.log(np.maximum(who["income"], 100))
    means = np.where(is_firm, means - 14.4, means - 8.8)
    young = np.where(is_firm, np.clip(3 - who["age"], 0, 3) * 0.25, 0.0)
    strength = (
        0.8 * (score - 645) / 60
        - 1.8 * (who["burden"] - 0.23)
        - 0.35 * asks
        + 0.3 * means
        - 1.0 * who["idle"]
        - young
    )
    return np.asarray(np.round(strength, 6), np.float64)
