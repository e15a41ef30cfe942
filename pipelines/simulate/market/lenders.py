"""Institutions, their products with terms and rules, and the taste that none of them tells."""

from dataclasses import dataclass

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import Chance, exp
from pipelines.simulate.population.firms import INDUSTRIES
from pipelines.simulate.population.people import STUDENT, UNEMPLOYED
from pipelines.simulate.world import REGIONS, Columns, Texts, World

KINDS = np.array(["bank", "consumer_finance", "micro_lender", "other"])
CONSUMER, BUSINESS = 0, 1
SEGMENTS = np.array(["consumer", "business"])
PRICE_MODELS = np.array(["cpl", "cpa", "cps"])
CAPACITY = 3.0
"""Places a day in all products together, for each lead of the day."""


@dataclass(frozen=True)
class Lenders:
    """Institutions: columns of one length, and their private tastes by region and industry."""

    name: Texts
    kind: IntArray
    region_taste: FloatArray
    """Shape (institutions, regions); added to the log-odds of approval."""
    industry_taste: FloatArray
    closes_by: FloatArray
    """How much stricter it becomes when its month's money is nearly lent; 0: not at all."""
    liked: FloatArray
    """Log-odds by which its loans are taken more often than others at the same price."""
    reports_daily: BoolArray
    """Whether outcomes are sent every day or only on two days of the week."""
    is_largest: BoolArray
    """The one whose products have the most places."""


@dataclass(frozen=True)
class Products:
    """Columns of products of all institutions; NaN is no limit."""

    lender: IntArray
    name: Texts
    segment: IntArray
    amount_min: FloatArray
    amount_max: FloatArray
    term_min: IntArray
    term_max: IntArray
    apr_min: FloatArray
    """What the strongest pay, as a share of what the dearest loan of the day costs."""
    apr_max: FloatArray
    pd_max: FloatArray
    price_model: IntArray
    price: FloatArray
    quota: IntArray
    least_score: FloatArray
    least_income: FloatArray
    """A month for people; a year's revenue for firms."""
    age_min: FloatArray
    """Years of a person or of a firm."""
    age_max: FloatArray
    refuses_idle: BoolArray
    """Whether students and the unemployed are refused."""
    regions: BoolArray
    """Shape (products, regions): where it lends."""
    industries: BoolArray
    cut: FloatArray
    """How much stronger than the average a lead must be; hidden."""


def all_lenders(world: World) -> Lenders:
    """Return the institutions of the world."""
    chance, number = world.chance, np.arange(world.institutions)
    regions, industries = np.arange(REGIONS.size), np.arange(INDUSTRIES.size)
    return Lenders(
        name=np.array([f"lender-{place + 1:03d}" for place in number]),
        kind=chance.choice("lender kind", [35, 30, 25, 10], number),
        region_taste=np.where(
            chance.uniform("region taste", number[:, None], regions[None, :]) < 0.2, 0.12, -0.03
        ),
        industry_taste=0.08 * chance.normal("industry taste", number[:, None], industries[None, :]),
        closes_by=np.where(chance.uniform("closes", number) < 0.4, 1.0, 0.0),
        liked=0.4 * chance.normal("liked", number),
        reports_daily=chance.uniform("reports daily", number) < 0.6,
        is_largest=number
        == np.argmax(np.bincount(_owners(world), _places(chance, _owners(world)))),
    )


def all_products(world: World, those: Lenders) -> Products:
    """Return the products of all institutions, ordered by institution."""
    chance = world.chance
    lender = _owners(world)
    number = np.arange(lender.size)
    kind = those.kind[lender]
    segment = (chance.uniform("segment", number) < 0.25).astype(np.int64)
    # The riskier the trade, the dearer and the less choosy: bank, consumer finance, micro, other.
    risk = np.array([0.0, 0.5, 1.0, 0.7])[kind] + 0.25 * chance.normal("risk", number)
    # At the price of the time nearly all of the trade lends at the dearest rate that is lawful.
    apr_max = _rounded(np.clip(0.985 + 0.03 * risk, 0.96, 1), 3)
    apr_min = _rounded(apr_max - 0.02 - 0.06 * chance.uniform("spread", number), 3)
    above_cap = chance.uniform("above cap", number) < 0.04
    model = chance.choice("price model", [35, 40, 25], number)
    places = _places(chance, lender)
    quota = np.ceil(world.leads_per_day * CAPACITY * places / places.sum())
    firm = segment == BUSINESS
    return Products(
        lender=lender,
        name=np.where(firm, "Business loan", "Personal loan"),
        segment=segment,
        amount_min=np.where(firm, 10_000.0, 1_000.0) * np.array([3, 1, 1, 2])[kind],
        amount_max=np.where(firm, 5.0, 1.0) * np.array([200_000, 100_000, 40_000, 60_000])[kind],
        term_min=np.where(kind == 2, 1, 3),
        term_max=np.array([36, 36, 12, 24])[kind],
        apr_min=apr_min,
        apr_max=np.where(above_cap, 1.5, apr_max),
        pd_max=_rounded(np.clip(0.05 + 0.10 * risk, 0.03, 0.30), 3),
        price_model=model,
        price=_price(chance, number, model, firm),
        quota=quota.astype(np.int64),
        **_rules(chance, number, firm),
        cut=1.5 - 1.7 * risk + 0.2 * chance.normal("cut", number),
    )


def _owners(world: World) -> IntArray:
    """Return the institution of each product, in order."""
    number = np.arange(world.institutions)
    return np.repeat(number, 1 + world.chance.choice("products", [30, 40, 20, 10], number))


def _places(chance: Chance, lender: IntArray) -> FloatArray:
    """Return how many leads each product takes, in proportion."""
    return exp(0.5 * chance.normal("quota", np.arange(lender.size)))


def _rounded(values: FloatArray, digits: int) -> FloatArray:
    return np.asarray(np.round(values, digits), np.float64)


def _price(chance: Chance, number: IntArray, model: IntArray, firm: BoolArray) -> FloatArray:
    level = exp(0.25 * chance.normal("price", number)) * np.where(firm, 2.0, 1.0)
    money = np.round(np.array([45.0, 260.0])[np.minimum(model, 1)] * level)
    return np.where(model == 2, np.round(0.018 * level / np.where(firm, 2.0, 1.0), 4), money)


def _rules(chance: Chance, number: IntArray, firm: BoolArray) -> Columns:
    def some(topic: str, share: float) -> BoolArray:
        return chance.uniform(f"has {topic}", number) < share

    regions, industries = np.arange(REGIONS.size), np.arange(INDUSTRIES.size)
    lends_in = chance.uniform("lends in", number[:, None], regions[None, :]) < 0.5
    refuses = chance.uniform("refuses", number[:, None], industries[None, :]) < 0.2
    income = np.where(firm, 500_000.0, 3_000.0) * (1 + chance.below("income floor", 2, number))
    score = 540.0 + 20 * chance.below("score floor", 5, number)
    oldest = 50.0 + 5 * chance.below("age ceiling", 3, number)
    return {
        "least_score": np.where(some("score floor", 0.3), score, np.nan),
        "least_income": np.where(some("income floor", 0.35), income, np.nan),
        "age_min": np.where(some("age", 0.6), np.where(firm, 1.0, 22.0), np.nan),
        "age_max": np.where(some("age", 0.6) & ~firm, oldest, np.nan),
        "refuses_idle": some("idle", 0.4) & ~firm,
        "regions": lends_in | ~some("regions", 0.15)[:, None],
        "industries": ~refuses | ~(some("industries", 0.3) & firm)[:, None],
    }


IDLE = (STUDENT, UNEMPLOYED)
"""Kinds of employment that `refuses_idle` refuses."""
