"""What institutions publish: themselves, their products, and the rules of each."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.market.lenders import (
    BUSINESS,
    KINDS,
    PRICE_MODELS,
    SEGMENTS,
    Lenders,
    Products,
)
from pipelines.simulate.population.firms import INDUSTRIES
from pipelines.simulate.world import CURRENCY, REGIONS, Texts, World, numbered

FIELDS = {
    "csv": "full_name|phone|region|income_monthly|debt_monthly|bureau_score|amount|currency"
    "|term_months|purpose|consent_at|consent_version",
    "parquet": "full_name|id_type|id_number|phone|region|employment|income_monthly|debt_monthly"
    "|bureau_score|housing|amount|currency|term_months|purpose|business_name|industry"
    "|established_on|revenue_annual|employees|tax_paid_annual|consent_at|consent_version",
}
"""Lead columns that an institution may receive, by the format that it takes."""
ADMITTED = date(2015, 1, 1)
STATE_A_BUDGET = 0.2
"""Share of products with a daily budget."""
LIKELY_APPROVED, LIKELY_LENT = 0.7, 30_000.0
"""Of the best leads: the share approved, and what an approved one borrows in the end."""
CHANGES = 0.10
"""Share of institutions that change their catalogue within a week."""
WEEKS_BACK = 26
"""A change older than this no longer counts; the original terms are back."""


def product_names(those: Products) -> Texts:
    """Return each product's id: unique within its institution, and in the world."""
    return numbered("loan-", np.arange(those.lender.size) + 1, 4)


def changed_on(world: World, day: date) -> BoolArray:
    """Return which institutions publish a catalogue on `day`: all where the law's price changes."""
    is_repriced = world.dearest(day) != world.dearest(day - timedelta(days=1))
    return _renews_on(world, day) | is_repriced


def _renews_on(world: World, day: date) -> BoolArray:
    """Return which institutions change their places, prices of leads and what is paused."""
    week, weekday = divmod(day.toordinal(), 7)
    lender = np.arange(world.institutions)
    chosen = world.chance.uniform("change", lender, week) < CHANGES
    on_that_day = world.chance.below("change day", 7, lender, week) == weekday
    return np.asarray(chosen & on_that_day)


def terms_on(world: World, those: Products, day: date) -> tuple[FloatArray, IntArray, BoolArray]:
    """Return each product's price, daily quota and whether it is active on `day`."""
    chance, number = world.chance, np.arange(those.lender.size)
    week = _week_of_terms(world, day)[those.lender]
    is_changed = week > 0
    price = np.where(is_changed, 0.85 + 0.3 * chance.uniform("new price", number, week), 1.0)
    quota = np.where(is_changed, 0.6 + 0.8 * chance.uniform("new quota", number, week), 1.0)
    paused = is_changed & (chance.uniform("paused", number, week) < 0.15)
    is_share = PRICE_MODELS[those.price_model] == "cps"
    price = those.price * price
    price = np.where(is_share, np.round(price, 4), np.round(price))
    return price, np.ceil(those.quota * quota).astype(np.int64), ~paused


def institution_table(those: Lenders) -> pa.Table:
    """Return the feed rows of the institutions."""
    count = those.name.size
    formats = np.where(np.arange(count) % 3 == 0, "parquet", "csv")
    return pa.table(
        {
            "institution_id": those.name,
            "name": np.char.add("Institution ", those.name),
            "kind": KINDS[those.kind],
            "admitted_from": pa.array([ADMITTED] * count, pa.date32()),
            "delivery": np.full(count, "folder"),
            "format": formats,
            "fields": np.where(formats == "csv", FIELDS["csv"], FIELDS["parquet"]),
        }
    )


def product_table(world: World, those: Products, day: date) -> pa.Table:
    """Return the feed rows of all products as of `day`, with the position of the lender."""
    price, quota, is_active = terms_on(world, those, day)
    count = those.lender.size
    return pa.table(
        {
            "lender": those.lender,
            "product_id": product_names(those),
            "name": those.name,
            "segment": SEGMENTS[those.segment],
            "currency": np.full(count, CURRENCY),
            "amount_min": those.amount_min,
            "amount_max": those.amount_max,
            "term_min_months": those.term_min,
            "term_max_months": those.term_max,
            "apr_min": np.round(those.apr_min * world.dearest(day), 4),
            "apr_max": np.round(those.apr_max * world.dearest(day), 4),
            "pd_min": np.zeros(count),
            "pd_max": those.pd_max,
            "price_model": PRICE_MODELS[those.price_model],
            "price": price,
            "daily_quota": quota,
            "daily_budget": _budgets(world, those, price, quota),
            "status": np.where(is_active, "active", "paused"),
            "valid_from": pa.array([ADMITTED] * count, pa.date32()),
        }
    )


def _budgets(world: World, those: Products, price: FloatArray, quota: IntArray) -> pa.Array:
    """Return what each product may spend a day; most state nothing beside their quota.

    Those that do give a little less or more than a day with a full quota is likely to cost.
    """
    chance, number = world.chance, np.arange(those.lender.size)
    likely = np.array([1.0, LIKELY_APPROVED, LIKELY_APPROVED * LIKELY_LENT])[those.price_model]
    room = 0.9 + 0.8 * chance.uniform("budget", number)
    budget = np.ceil(quota * price * likely * room)
    is_stated = chance.uniform("has budget", number) < STATE_A_BUDGET
    return pa.array(np.where(is_stated, budget, np.nan), pa.float64(), from_pandas=True)


def rule_table(those: Products) -> pa.Table:
    """Return the feed rows of the products' hard rules, with the position of the lender."""
    firm = those.segment == BUSINESS
    number = np.arange(those.lender.size)
    rules = [
        _rule(number, "bureau_score", "ge", those.least_score),
        _rule(number[~firm], "income_monthly", "ge", those.least_income[~firm]),
        _rule(number[firm], "revenue_annual", "ge", those.least_income[firm]),
        _ages(number[~firm], those.age_min[~firm], those.age_max[~firm]),
        _rule(number[firm], "business_age_years", "ge", those.age_min[firm]),
        _rule(
            number, "employment", "not_in", np.where(those.refuses_idle, "student|unemployed", "")
        ),
        _rule(number, "region", "in", _listed(those.regions, REGIONS)),
        _rule(number, "industry", "in", _listed(those.industries, INDUSTRIES)),
    ]
    table = pa.concat_tables(rules)
    product = table["number"].to_numpy()
    lender, name = those.lender[product], product_names(those)[product]
    table = table.drop_columns("number").add_column(0, "lender", pa.array(lender))
    return table.add_column(1, "product_id", pa.array(name))


def _rule(number: IntArray, attribute: str, op: str, values: NDArray[np.generic]) -> pa.Table:
    """Return one rule for each product that has a value, which is a number or a text."""
    if values.dtype.kind == "f":
        values = np.char.mod("%d", np.where(np.isnan(values), -1, values).astype(np.int64))
        values = np.where(values == "-1", "", values)
    has_rule = values != ""
    return pa.table(
        {
            "number": number[has_rule],
            "attribute": np.full(int(has_rule.sum()), attribute),
            "op": np.full(int(has_rule.sum()), op),
            "value": values[has_rule].astype(np.str_),
        }
    )


def _ages(number: IntArray, youngest: FloatArray, oldest: FloatArray) -> pa.Table:
    """Ages have one end or both."""
    both = ~np.isnan(youngest) & ~np.isnan(oldest)
    ends = np.nan_to_num(np.stack([youngest, oldest])).astype(np.int64).astype(np.str_)
    between = np.where(both, np.char.add(np.char.add(ends[0], "|"), ends[1]), "")
    return pa.concat_tables(
        [
            _rule(number, "age_years", "between", between),
            _rule(number, "age_years", "ge", np.where(both, np.nan, youngest)),
            _rule(number, "age_years", "le", np.where(both, np.nan, oldest)),
        ]
    )


def _listed(allowed: BoolArray, names: Texts) -> Texts:
    """Return the allowed names of each product, joined; empty where all are allowed."""
    return np.array(["" if row.all() else "|".join(names[row]) for row in allowed], np.str_)


def _week_of_terms(world: World, day: date) -> IntArray:
    """Return the week in which each institution last changed its terms; 0 if not of late."""
    found = np.zeros(world.institutions, np.int64)
    for back in range(7 * WEEKS_BACK):
        that_day = date.fromordinal(day.toordinal() - back)
        changed = _renews_on(world, that_day) & (found == 0)
        found[changed] = that_day.toordinal() // 7
    return found
