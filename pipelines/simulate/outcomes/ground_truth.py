"""The truth of any pair: probability of approval, take-up and default, rate and granted amount.

A part of each rests on traits that no column shows, so no score can be perfect. docs/world.md gives
the reason for each figure.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import rounded_sigmoid
from pipelines.simulate.market.leads import DayLeads
from pipelines.simulate.market.lenders import BUSINESS, Lenders, Products
from pipelines.simulate.population.firms import FALLING_INDUSTRY
from pipelines.simulate.shocks import INSTITUTION_TIGHTENS, SECTOR_FALLS
from pipelines.simulate.world import Columns, World

APPLICATION_RATE = 0.85
"""Share of leads that apply for a product they are shown."""
APPROVAL_SLOPE, APPROVAL_INTERCEPT = 1.8, 3.55
"""Log-odds of approval for each unit of strength above the cut-off, and subtracted for all."""
MIN_GRANTED = 0.5
"""Share of the requested amount that is granted to leads at the cut-off."""
STRENGTH_PENALTY = 0.4
"""Log-odds of take-up lost with each unit of strength: strong leads find other lenders."""
RANK_PENALTY = 0.15
"""Log-odds of take-up lost with each rank."""

MONTH_ENDS_FROM = 28
"""From this day of a month on, institutions have little money left to lend."""
TIGHTENING = 1.5
"""Rise of the cut-off of the institution that tightens."""
STRENGTH_LOST, LOG_ODDS_OF_DEFAULT_ADDED = 0.7, 1.0
"""Effect of a falling sector on the strength and the defaults of its firms."""


@dataclass(frozen=True)
class PairTruth:
    """Pairs of a lead and a product, and the truth of each: columns of one length."""

    lead: IntArray
    """Position of the lead within its day."""
    product: IntArray
    rank: IntArray
    """Rank of the product among the lead's offers; 1 is the first."""
    p_approve: FloatArray
    """Probability of approval given that the product is shown, with or without an application."""
    p_take: FloatArray
    """Probability that the lead wants the loan, given approval."""
    p_fund: FloatArray
    """Probability of take-up given approval: the lead wants it and took none of lower rank."""
    p_default: FloatArray
    """Probability of being 90 days overdue within a year of funding."""
    apr: FloatArray
    amount: FloatArray
    """Amount granted on approval, at most the amount requested."""


def meets_hard_rules(
    products: Products, leads: DayLeads, lead: IntArray, product: IntArray
) -> BoolArray:
    """Return which pairs meet the product's hard rules, shape of `product`."""
    traits = {name: column[lead] for name, column in leads.traits.items()}
    amount, term = (leads.columns[name][lead] for name in ("amount", "term_months"))

    def at_least(value: FloatArray, floor: FloatArray) -> BoolArray:
        return np.isnan(floor) | (value >= floor)

    meets = (products.segment[product] == BUSINESS) == traits["is_firm"]
    meets &= (products.amount_min[product] <= amount) & (amount <= products.amount_max[product])
    meets &= (products.term_min[product] <= term) & (term <= products.term_max[product])
    meets &= at_least(traits["score"], products.min_score[product])
    meets &= at_least(traits["income"], products.min_income[product])
    meets &= at_least(traits["age"], products.age_min[product])
    meets &= at_least(-traits["age"], -products.age_max[product])
    meets &= ~(products.refuses_idle[product] & traits["idle"])
    meets &= products.regions[product, traits["region"]]
    meets &= products.industries[product, traits["industry"]] | ~traits["is_firm"]
    return np.asarray(meets)


def compute_pair_truth(
    world: World,
    lenders: Lenders,
    products: Products,
    leads: DayLeads,
    lead: IntArray,
    product: IntArray,
    rank: IntArray | None = None,
) -> PairTruth:
    """Return the truth of any pairs of a day.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        leads: The leads of the day.
        lead: Position of each pair's lead within the day.
        product: Position of each pair's product; the lead is assumed to meet its hard rules.
        rank: Rank of the product among the lead's offers, from 1; the pairs are all its offers.
            Without it each pair is computed as if it were the lead's only offer.
    """
    random, day = world.random, leads.day
    traits = {name: column[lead] for name, column in leads.traits.items()}
    requested = leads.columns["amount"][lead]
    pair = (np.full(lead.size, day.toordinal()), leads.address[1][lead], product)
    is_falling = world.has_shock(SECTOR_FALLS, day) & traits["is_firm"]
    is_falling = is_falling & (traits["industry"] == FALLING_INDUSTRY)
    strength = credit_strength(traits, requested) - STRENGTH_LOST * is_falling

    observed = 0.12 * traits["hidden"] + 0.08 * random.normal("pair", *pair)
    preference, mood = _lender_preferences(world, lenders, leads, traits, products.lender[product])
    above_cut = strength + preference + mood + observed - products.cut[product]
    log_odds = APPROVAL_SLOPE * above_cut - APPROVAL_INTERCEPT
    p_approve = APPLICATION_RATE * rounded_sigmoid(log_odds)
    granted = np.round(requested * np.clip(0.6 + 0.2 * above_cut, MIN_GRANTED, 1), -2)

    apr = _offered_rates(world, products, leads, product, strength)
    excess_rate = apr / world.highest_rate(day) - 0.95
    wants = 1.0 - 5 * excess_rate - 1.5 * (1 - granted / requested)
    wants = wants + lenders.liked[products.lender[product]]
    wants = wants - STRENGTH_PENALTY * strength
    wants = wants + 0.2 * random.normal("keen", *pair)
    if rank is not None:
        wants = wants - RANK_PENALTY * (rank - 1)
    p_take = rounded_sigmoid(wants)
    is_fraud = traits["is_fake"] | (traits["ring"] >= 0)
    truth = PairTruth(
        lead=lead,
        product=product,
        rank=np.ones_like(lead) if rank is None else rank,
        p_approve=np.where(is_fraud, 0.005, p_approve),
        p_take=p_take,
        p_fund=p_take,
        p_default=_default_probability(traits, strength, is_falling),
        apr=apr,
        amount=granted,
    )
    return truth if rank is None else replace(truth, p_fund=funding_probability(truth))


def _lender_preferences(
    world: World, lenders: Lenders, leads: DayLeads, traits: Columns, lender: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return what a lender adds to the strength of a lead by region and industry, and by day."""
    day = leads.day
    preference = lenders.region_taste[lender, traits["region"]]
    industry_taste = lenders.industry_taste[lender, traits["industry"]]
    preference += np.where(traits["is_firm"], industry_taste, 0.0)
    mood = 0.15 * world.random.normal("mood", lender, day.toordinal() // 7)
    mood = mood - lenders.closes_by[lender] * (day.day >= MONTH_ENDS_FROM)
    if world.has_shock(INSTITUTION_TIGHTENS, day):
        mood = mood - TIGHTENING * lenders.is_largest[lender]
    return preference, mood


def _default_probability(
    traits: Columns, strength: FloatArray, is_falling: BoolArray
) -> FloatArray:
    return rounded_sigmoid(
        -2.8
        - 0.45 * strength
        - 0.6 * traits["hidden"]
        - 0.5 * traits["stability"]
        - 0.5 * traits["buyer"]
        + LOG_ODDS_OF_DEFAULT_ADDED * is_falling
    )


def _offered_rates(
    world: World, products: Products, leads: DayLeads, product: IntArray, strength: FloatArray
) -> FloatArray:
    """Return the rate of each pair: one of four steps of the product's range, by strength."""
    step = np.clip(np.floor(3 - strength), 0, 3) / 3
    highest = world.highest_rate(leads.day)
    least, most = (limit[product] * highest for limit in (products.apr_min, products.apr_max))
    return np.asarray(np.minimum(np.round(least + (most - least) * step, 4), highest))


def funding_probability(truth: PairTruth) -> FloatArray:
    """Return the probability that each approved offer is funded: a lead takes one loan at most."""
    order = np.lexsort((truth.rank, truth.lead))
    lead = truth.lead[order]
    not_taken = 1 - truth.p_approve[order] * truth.p_take[order]
    position = np.arange(lead.size) - np.searchsorted(lead, lead)
    none_before = np.ones(lead.size)
    for back in range(1, int(position.max(initial=0)) + 1):
        has_earlier = np.flatnonzero(position >= back)
        none_before[has_earlier] *= not_taken[has_earlier - back]
    p_fund = np.empty(lead.size)
    p_fund[order] = none_before * truth.p_take[order]
    return p_fund


def credit_strength(traits: Columns, amount: FloatArray) -> FloatArray:
    """Return the strength of each lead by what every lender sees; about standard normal."""
    is_firm = traits["is_firm"]
    score = np.where(np.isnan(traits["score"]), 615.0, traits["score"])
    months = np.log(np.maximum(amount, 1) / np.maximum(traits["income"], 100))
    request = np.where(is_firm, months + 4.0, months + 0.1)
    income = np.log(np.maximum(traits["income"], 100))
    income = np.where(is_firm, income - 14.4, income - 8.8)
    youth = np.where(is_firm, np.clip(3 - traits["age"], 0, 3) * 0.25, 0.0)
    strength = (
        0.6 * (score - 645) / 60
        - 1.8 * (traits["burden"] - 0.23)
        - 0.35 * request
        + 0.3 * income
        - 1.0 * traits["idle"]
        - youth
    )
    return np.asarray(np.round(strength, 6), np.float64)
