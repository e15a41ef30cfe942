"""Institutions and their products: terms, hard rules, and preferences that no feed states."""

from dataclasses import dataclass

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import KeyedRandom, rounded_exp
from pipelines.simulate.population.firms import INDUSTRIES
from pipelines.simulate.world import REGIONS, Columns, TextArray, World

KINDS = np.array(["bank", "consumer_finance", "micro_lender", "other"])
CONSUMER, BUSINESS = 0, 1
SEGMENTS = np.array(["consumer", "business"])
PRICE_MODELS = np.array(["cpl", "cpa", "cps"])
QUOTA_PER_LEAD = 3.0
"""Daily quota of all products together, for each lead of the day."""


@dataclass(frozen=True)
class Lenders:
    """Institutions: columns of one length, and their private preferences."""

    name: TextArray
    kind: IntArray
    region_taste: FloatArray
    """Shape (institutions, regions); added to the log-odds of approval."""
    industry_taste: FloatArray
    closes_by: FloatArray
    """Rise of the cut-off near the end of a month, when little money is left; 0: none."""
    liked: FloatArray
    """Log-odds by which its loans are taken up more often than others at the same price."""
    reports_daily: BoolArray
    """True where outcomes are sent every day, false where on two days of the week."""
    is_largest: BoolArray
    """True for the institution with the largest quota."""


@dataclass(frozen=True)
class Products:
    """Columns of products of all institutions; NaN is no limit."""

    lender: IntArray
    name: TextArray
    segment: IntArray
    amount_min: FloatArray
    amount_max: FloatArray
    term_min: IntArray
    term_max: IntArray
    apr_min: FloatArray
    """Rate of the strongest leads, as a share of the day's highest rate."""
    apr_max: FloatArray
    pd_max: FloatArray
    price_model: IntArray
    price: FloatArray
    quota: IntArray
    min_score: FloatArray
    min_income: FloatArray
    """A month for people; a year's revenue for firms."""
    age_min: FloatArray
    """Years of a person or of a firm."""
    age_max: FloatArray
    refuses_idle: BoolArray
    """True where students and the unemployed are refused."""
    regions: BoolArray
    """Shape (products, regions): true where the product is offered."""
    industries: BoolArray
    cut: FloatArray
    """Hidden cut-off: credit strength above the average that approval requires."""


def generate_lenders(world: World) -> Lenders:
    """Return the institutions of the world."""
    random, number = world.random, np.arange(world.institutions)
    regions, industries = np.arange(REGIONS.size), np.arange(INDUSTRIES.size)
    likes_region = random.uniform("region taste", number[:, None], regions[None, :]) < 0.2
    industry_taste = random.normal("industry taste", number[:, None], industries[None, :])
    owner = _product_owners(world)
    quota = np.bincount(owner, _relative_quotas(random, owner))
    return Lenders(
        name=np.array([f"lender-{lender + 1:03d}" for lender in number]),
        kind=random.choice("lender kind", [35, 30, 25, 10], number),
        region_taste=np.where(likes_region, 0.12, -0.03),
        industry_taste=0.08 * industry_taste,
        closes_by=np.where(random.uniform("closes", number) < 0.4, 1.0, 0.0),
        liked=0.4 * random.normal("liked", number),
        reports_daily=random.uniform("reports daily", number) < 0.6,
        is_largest=number == np.argmax(quota),
    )


def generate_products(world: World, lenders: Lenders) -> Products:
    """Return the products of all institutions, ordered by institution."""
    random = world.random
    lender = _product_owners(world)
    number = np.arange(lender.size)
    kind = lenders.kind[lender]
    segment = (random.uniform("segment", number) < 0.25).astype(np.int64)
    # Riskier lenders are more expensive and less selective: bank, consumer finance, micro, other.
    risk = np.array([0.0, 0.5, 1.0, 0.7])[kind] + 0.25 * random.normal("risk", number)
    # Nearly all of the market lends close to the highest lawful rate.
    apr_max = _round(np.clip(0.985 + 0.03 * risk, 0.96, 1), 3)
    apr_min = _round(apr_max - 0.02 - 0.06 * random.uniform("spread", number), 3)
    is_above_cap = random.uniform("above cap", number) < 0.04
    price_model = random.choice("price model", [35, 40, 25], number)
    weight = _relative_quotas(random, lender)
    quota = np.ceil(world.leads_per_day * QUOTA_PER_LEAD * weight / weight.sum())
    is_business = segment == BUSINESS
    amount_max = np.array([200_000, 100_000, 40_000, 60_000])[kind]
    return Products(
        lender=lender,
        name=np.where(is_business, "Business loan", "Personal loan"),
        segment=segment,
        amount_min=np.where(is_business, 10_000.0, 1_000.0) * np.array([3, 1, 1, 2])[kind],
        amount_max=np.where(is_business, 5.0, 1.0) * amount_max,
        term_min=np.where(kind == 2, 1, 3),
        term_max=np.array([36, 36, 12, 24])[kind],
        apr_min=apr_min,
        apr_max=np.where(is_above_cap, 1.5, apr_max),
        pd_max=_round(np.clip(0.05 + 0.10 * risk, 0.03, 0.30), 3),
        price_model=price_model,
        price=_prices(random, number, price_model, is_business),
        quota=quota.astype(np.int64),
        **_rules(random, number, is_business),
        cut=1.5 - 1.7 * risk + 0.2 * random.normal("cut", number),
    )


def _product_owners(world: World) -> IntArray:
    """Return the institution of each product, in order."""
    number = np.arange(world.institutions)
    return np.repeat(number, 1 + world.random.choice("products", [30, 40, 20, 10], number))


def _relative_quotas(random: KeyedRandom, lender: IntArray) -> FloatArray:
    """Return the quotas of the products, in proportion."""
    return rounded_exp(0.5 * random.normal("quota", np.arange(lender.size)))


def _round(values: FloatArray, digits: int) -> FloatArray:
    return np.asarray(np.round(values, digits), np.float64)


def _prices(
    random: KeyedRandom, number: IntArray, price_model: IntArray, is_business: BoolArray
) -> FloatArray:
    factor = np.where(is_business, 2.0, 1.0)
    level = rounded_exp(0.25 * random.normal("price", number)) * factor
    money = np.round(np.array([45.0, 260.0])[np.minimum(price_model, 1)] * level)
    return np.where(price_model == 2, np.round(0.018 * level / factor, 4), money)


def _rules(random: KeyedRandom, number: IntArray, is_business: BoolArray) -> Columns:
    def has_rule(topic: str, share: float) -> BoolArray:
        return random.uniform(f"has {topic}", number) < share

    regions, industries = np.arange(REGIONS.size), np.arange(INDUSTRIES.size)
    lends_in = random.uniform("lends in", number[:, None], regions[None, :]) < 0.5
    refuses = random.uniform("refuses", number[:, None], industries[None, :]) < 0.2
    income_floor = 1 + random.integers("income floor", 2, number)
    income = np.where(is_business, 500_000.0, 3_000.0) * income_floor
    score = 540.0 + 20 * random.integers("score floor", 5, number)
    age_min = np.where(is_business, 1.0, 22.0)
    age_max = 50.0 + 5 * random.integers("age ceiling", 3, number)
    has_industries = has_rule("industries", 0.3) & is_business
    return {
        "min_score": np.where(has_rule("score floor", 0.3), score, np.nan),
        "min_income": np.where(has_rule("income floor", 0.35), income, np.nan),
        "age_min": np.where(has_rule("age", 0.6), age_min, np.nan),
        "age_max": np.where(has_rule("age", 0.6) & ~is_business, age_max, np.nan),
        "refuses_idle": has_rule("idle", 0.4) & ~is_business,
        "regions": lends_in | ~has_rule("regions", 0.15)[:, None],
        "industries": ~refuses | ~has_industries[:, None],
    }
