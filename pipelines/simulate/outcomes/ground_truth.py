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
RISK_OF_STRENGTH = 0.45
"""Log-odds of default that a standard deviation of strength takes away."""
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
MOOD = 0.15
"""Standard deviation of a lender's mood, drawn for each week, in units of strength."""
SEEN = 0.08
"""Units of strength of a standard deviation of what a lender sees beyond the columns."""
HIDDEN_NODES = ((-(3**0.5), 1 / 6), (0.0, 2 / 3), (3**0.5, 1 / 6))
"""Nodes and weights of the Gauss-Hermite quadrature of the applicant's hidden trait."""
MIN_REGRESSION_LEADS = 20
"""Leads of a segment from which the regression of stability is fitted; fewer: the average, 0."""


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
    random = world.random
    lender, week = products.lender[product], leads.day.toordinal() // 7
    mood = MOOD * random.normal("mood", lender, week)
    visible = _visible_part(world, lenders, products, leads, lead, product, mood)
    pair = (np.full(lead.size, leads.day.toordinal()), leads.address[1][lead], product)
    hidden = _HiddenPart(
        trait=leads.traits["hidden"][lead],
        seen=random.normal("pair", *pair),
        keen=random.normal("keen", *pair),
        stability=leads.traits["stability"][lead],
    )
    truth = _truth_given(visible, hidden, rank)
    return truth if rank is None else replace(truth, p_fund=funding_probability(truth))


def expect_pair_truth(
    world: World,
    lenders: Lenders,
    products: Products,
    leads: DayLeads,
    lead: IntArray,
    product: IntArray,
) -> PairTruth:
    """Return the truth of pairs averaged over the traits that no column shows, by quadrature.

    Averaged are the applicant's trait, what a lender sees of a pair, the part of stability that
    bureau score and debt do not show, and the lender's mood, which is drawn for each week, so
    that no column shows it. The lenders' own preferences count as known, and what a firm's chain
    and sector add to its risk, too: outcomes and the links of the chain reveal them in time. Few
    models can do as well as a plan by these figures; only one that guesses a week's mood from its
    first decisions could do better.

    Probabilities are conditional as in `compute_pair_truth`, each pair as its lead's only offer:
    the mean of approval x take-up x amount is the product of the three columns.
    """
    visible = _visible_part(world, lenders, products, leads, lead, product, np.zeros(lead.size))
    # Both are normal and add to the same strength, so one draw of their joint spread has the place
    # of two.
    unseen = np.hypot(SEEN, MOOD) / SEEN
    stability, spread = (column[lead] for column in _stability_by_columns(leads))
    shape = lead.shape
    sums = np.zeros((4, lead.size))
    for trait, weight in HIDDEN_NODES:
        for seen in (-unseen, unseen):
            hidden = _HiddenPart(
                trait=np.full(shape, trait),
                seen=np.full(shape, seen),
                keen=np.zeros(shape),
                stability=stability,
            )
            truth = _truth_given(visible, hidden, None)
            p_default = 0.5 * (
                _default_probability(visible, hidden.trait, stability - spread)
                + _default_probability(visible, hidden.trait, stability + spread)
            )
            funded = truth.p_approve * truth.p_take
            lent = funded * truth.amount
            columns = (truth.p_approve, funded, lent, lent * p_default)
            sums += 0.5 * weight * np.stack(columns)
    approved, funded, lent, defaulted = sums
    taken = np.round(funded / approved, 9)
    return PairTruth(
        lead=lead,
        product=product,
        rank=np.ones_like(lead),
        p_approve=np.round(approved, 9),
        p_take=taken,
        p_fund=taken,
        p_default=np.round(defaulted / lent, 9),
        apr=visible.apr,
        amount=np.round(lent / funded, 2),
    )


@dataclass(frozen=True)
class _VisiblePart:
    """The parts of the truth that are the same for leads of the same columns; one row a pair."""

    lead: IntArray
    product: IntArray
    requested: FloatArray
    apr: FloatArray
    above_cut: FloatArray
    """Strength, the lender's preferences and its mood above its cut-off, without hidden traits."""
    wants: FloatArray
    """Log-odds of take-up for the full amount, without hidden traits and rank."""
    default_log_odds: FloatArray
    """Without the applicant's hidden trait and stability."""
    is_fraud: BoolArray


@dataclass(frozen=True)
class _HiddenPart:
    """The hidden traits of each pair, in standard deviations."""

    trait: FloatArray
    """Of the applicant."""
    seen: FloatArray
    """Of the pair: what the lender sees beyond the columns."""
    keen: FloatArray
    """Of the pair: how much the applicant likes the offer."""
    stability: FloatArray


def _visible_part(
    world: World,
    lenders: Lenders,
    products: Products,
    leads: DayLeads,
    lead: IntArray,
    product: IntArray,
    mood: FloatArray,
) -> _VisiblePart:
    day = leads.day
    traits = {name: column[lead] for name, column in leads.traits.items()}
    requested = leads.columns["amount"][lead]
    is_falling = world.has_shock(SECTOR_FALLS, day) & traits["is_firm"]
    is_falling = is_falling & (traits["industry"] == FALLING_INDUSTRY)
    strength = credit_strength(traits, requested) - STRENGTH_LOST * is_falling
    lender = products.lender[product]
    preference = _lender_preferences(lenders, traits, lender)
    mood = mood - lenders.closes_by[lender] * (day.day >= MONTH_ENDS_FROM)
    if world.has_shock(INSTITUTION_TIGHTENS, day):
        mood = mood - TIGHTENING * lenders.is_largest[lender]
    apr = _offered_rates(world, products, leads, product, strength)
    excess_rate = apr / world.highest_rate(day) - 0.95
    liked = lenders.liked[lender]
    return _VisiblePart(
        lead=lead,
        product=product,
        requested=requested,
        apr=apr,
        above_cut=strength + preference + mood - products.cut[product],
        wants=1.0 - 5 * excess_rate + liked - STRENGTH_PENALTY * strength,
        default_log_odds=(
            -2.8
            - RISK_OF_STRENGTH * strength
            + traits["chain"]
            + LOG_ODDS_OF_DEFAULT_ADDED * is_falling
        ),
        is_fraud=traits["is_fake"] | (traits["ring"] >= 0),
    )


def _truth_given(visible: _VisiblePart, hidden: _HiddenPart, rank: IntArray | None) -> PairTruth:
    """Return the truth of each pair for these hidden traits; `p_fund` ignores other offers."""
    above_cut = visible.above_cut + (0.12 * hidden.trait + SEEN * hidden.seen)
    p_approve = APPLICATION_RATE * rounded_sigmoid(APPROVAL_SLOPE * above_cut - APPROVAL_INTERCEPT)
    requested = visible.requested
    granted = np.round(requested * np.clip(0.6 + 0.2 * above_cut, MIN_GRANTED, 1), -2)
    wants = visible.wants - 1.5 * (1 - granted / requested) + 0.2 * hidden.keen
    if rank is not None:
        wants = wants - RANK_PENALTY * (rank - 1)
    p_take = rounded_sigmoid(wants)
    return PairTruth(
        lead=visible.lead,
        product=visible.product,
        rank=np.ones_like(visible.lead) if rank is None else rank,
        p_approve=np.where(visible.is_fraud, 0.005, p_approve),
        p_take=p_take,
        p_fund=p_take,
        p_default=_default_probability(visible, hidden.trait, hidden.stability),
        apr=visible.apr,
        amount=granted,
    )


def _default_probability(
    visible: _VisiblePart, trait: FloatArray, stability: FloatArray
) -> FloatArray:
    return rounded_sigmoid(visible.default_log_odds - 0.6 * trait - 0.5 * stability)


def _stability_by_columns(leads: DayLeads) -> tuple[FloatArray, FloatArray]:
    """Return what bureau score and debt tell of each lead's stability: a linear regression.

    Returns:
        The expected stability of each lead, and the standard deviation of what remains.
    """
    traits = leads.traits
    is_scored = ~np.isnan(traits["score"])
    score = np.where(is_scored, traits["score"] - 645, 0.0) / 60
    columns = np.stack([np.ones_like(score), is_scored, score, traits["burden"] - 0.23], axis=1)
    expected, spread = np.zeros(score.size), np.ones(score.size)
    for segment in (False, True):
        rows = np.flatnonzero(traits["is_firm"] == segment)
        if rows.size >= MIN_REGRESSION_LEADS:
            fit = np.linalg.lstsq(columns[rows], traits["stability"][rows], rcond=None)[0]
            expected[rows] = np.round(columns[rows] @ fit, 6)
            for has_score in (False, True):
                group = rows[is_scored[rows] == has_score]
                error = traits["stability"][group] - expected[group]
                spread[group] = np.round(np.sqrt((error**2).mean()), 6) if group.size else 1.0
    return expected, spread


def _lender_preferences(lenders: Lenders, traits: Columns, lender: IntArray) -> FloatArray:
    """Return what a lender adds to the strength of a lead by region and industry."""
    preference = lenders.region_taste[lender, traits["region"]]
    industry_taste = lenders.industry_taste[lender, traits["industry"]]
    return np.asarray(preference + np.where(traits["is_firm"], industry_taste, 0.0))


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
