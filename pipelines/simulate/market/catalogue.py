"""Feeds of institutions and of the platform: institutions, products, rules and suppressions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.database import connect, read_query
from pipelines.simulate.market.lenders import (
    BUSINESS,
    KINDS,
    PRICE_MODELS,
    SEGMENTS,
    Lenders,
    Products,
)
from pipelines.simulate.population import firms, identities, people
from pipelines.simulate.population.identities import AsciiArray
from pipelines.simulate.world import (
    CURRENCY,
    REGIONS,
    TextArray,
    World,
    format_ids,
    map_in_threads,
    split_into_chunks,
)
from pipelines.simulate.write_feeds import add_constants, to_arrow

FIELDS = {
    "csv": "full_name|phone|region|income_monthly|debt_monthly|bureau_score|amount|currency"
    "|term_months|purpose|consent_at|consent_version",
    "parquet": "full_name|id_type|id_number|phone|region|employment|income_monthly|debt_monthly"
    "|bureau_score|housing|amount|currency|term_months|purpose|business_name|industry"
    "|established_on|revenue_annual|employees|tax_paid_annual|consent_at|consent_version",
}
"""Lead columns that an institution may receive, by its delivery format."""
ADMITTED = date(2015, 1, 1)
BUDGET_SHARE = 0.2
"""Share of products with a daily budget."""
LIKELY_APPROVAL, LIKELY_LOAN = 0.7, 30_000.0
"""Of the best leads: the share approved, and the amount of an approved loan."""
LIKELY_COST = (1.0, LIKELY_APPROVAL, LIKELY_APPROVAL * LIKELY_LOAN)
"""Likely fee of one of the best leads, over the price, by price model."""
WEEKLY_CHANGES = 0.10
"""Share of institutions that change their terms within a week."""
WEEKS_BACK = 26
"""A change older than this no longer counts; the original terms apply again."""

BY_PHONE, BY_LENDER = "do_not_contact", "existing_customer"
SUPPRESSED = {BY_PHONE: 0.003, "erasure": 0.001, BY_LENDER: 0.010, "fraud": 0.001}
"""Share of all people and firms on the list of each suppression reason."""


def product_ids(products: Products) -> TextArray:
    """Return each product's id, unique in the world."""
    return format_ids("loan-", np.arange(products.lender.size) + 1, 4)


def institutions_publishing(world: World, day: date) -> BoolArray:
    """Return which institutions publish a catalogue on `day`: all if the highest rate changes."""
    is_repriced = world.highest_rate(day) != world.highest_rate(day - timedelta(days=1))
    return _changes_terms(world, day) | is_repriced


def _changes_terms(world: World, day: date) -> BoolArray:
    """Return which institutions change quotas, prices of leads and paused products on `day`."""
    week, weekday = divmod(day.toordinal(), 7)
    lender = np.arange(world.institutions)
    changes_this_week = world.random.uniform("change", lender, week) < WEEKLY_CHANGES
    is_change_day = world.random.integers("change day", 7, lender, week) == weekday
    return np.asarray(changes_this_week & is_change_day)


def _week_of_terms(world: World, day: date) -> IntArray:
    """Return the week in which each institution last changed its terms; 0: not recently."""
    week = day.toordinal() // 7 - np.arange(WEEKS_BACK + 1)
    lender = np.arange(world.institutions)[:, None]
    changes = world.random.uniform("change", lender, week) < WEEKLY_CHANGES
    changed_on = 7 * week + world.random.integers("change day", 7, lender, week)
    back = day.toordinal() - changed_on
    changes &= (back >= 0) & (back < 7 * WEEKS_BACK)
    return np.asarray(np.where(changes, week, 0).max(axis=1), np.int64)


def terms_on(
    world: World, products: Products, day: date, factor: FloatArray | float = 1.0
) -> tuple[FloatArray, IntArray, BoolArray]:
    """Return each product's price, daily quota and active flag on `day`.

    Args:
        world: The world.
        products: Its products.
        day: A business date.
        factor: Factor on the unscaled prices, of all products or by product.
    """
    random, number = world.random, np.arange(products.lender.size)
    week = _week_of_terms(world, day)[products.lender]
    is_changed = week > 0
    price = np.where(is_changed, 0.85 + 0.3 * random.uniform("new price", number, week), 1.0)
    quota = np.where(is_changed, 0.6 + 0.8 * random.uniform("new quota", number, week), 1.0)
    is_paused = is_changed & (random.uniform("paused", number, week) < 0.15)
    is_share = PRICE_MODELS[products.price_model] == "cps"
    price = products.price * price * factor
    price = np.where(is_share, np.round(price, 4), np.round(price))
    return price, np.ceil(products.quota * quota).astype(np.int64), ~is_paused


def has_key(world: World) -> BoolArray:
    """Return which institutions have a key pair."""
    lender = np.arange(world.institutions)
    return np.asarray(world.random.uniform("key", lender) < world.sealed)


def institution_table(lenders: Lenders, keys: Sequence[str | None]) -> pa.Table:
    """Return the feed rows of the institutions, each with its public key if it has one."""
    count = lenders.name.size
    formats = np.where(np.arange(count) % 3 == 0, "parquet", "csv")
    table = pa.table(
        {
            "institution_id": lenders.name,
            "name": np.char.add("Institution ", lenders.name),
            "kind": KINDS[lenders.kind],
            "admitted_from": pa.array([ADMITTED] * count, pa.date32()),
            "delivery": np.full(count, "folder"),
            "format": formats,
            "fields": np.where(formats == "csv", FIELDS["csv"], FIELDS["parquet"]),
        }
    )
    return table.append_column("public_key", pa.array(keys, pa.string())) if any(keys) else table


def product_table(
    world: World,
    products: Products,
    day: date,
    factor: FloatArray | float = 1.0,
    left_on: IntArray | None = None,
    is_open: BoolArray | None = None,
) -> pa.Table:
    """Return the feed rows of all products on `day`, with the position of the lender.

    Args:
        world: The world.
        products: Its products.
        day: A business date.
        factor: Factor on the unscaled prices, of all products or by product.
        left_on: Ordinal of the day on which each product left the market, 0 if it is there.
        is_open: False where a product pauses or has left; None: all are open.
    """
    price, quota, is_active = terms_on(world, products, day, factor)
    if is_open is not None:
        is_active &= is_open
    count = products.lender.size
    return pa.table(
        {
            "lender": products.lender,
            "product_id": product_ids(products),
            "name": products.name,
            "segment": SEGMENTS[products.segment],
            "currency": np.full(count, CURRENCY),
            "amount_min": products.amount_min,
            "amount_max": products.amount_max,
            "term_min_months": products.term_min,
            "term_max_months": products.term_max,
            "apr_min": np.round(products.apr_min * world.highest_rate(day), 4),
            "apr_max": np.round(products.apr_max * world.highest_rate(day), 4),
            "pd_min": np.zeros(count),
            "pd_max": products.pd_max,
            "price_model": PRICE_MODELS[products.price_model],
            "price": price,
            "daily_quota": quota,
            "daily_budget": _budgets(world, products, price, quota),
            **_agreed_limits(world, products, price, quota),
            "status": np.where(is_active, "active", "paused"),
            "valid_from": pa.array([ADMITTED] * count, pa.date32()),
            "valid_to": _last_days(count, left_on),
        }
    )


def _last_days(count: int, left_on: IntArray | None) -> pa.Array:
    """Return the last day of each product's terms; none for a product that is in the market."""
    ordinals = np.zeros(count, np.int64) if left_on is None else left_on
    days = [date.fromordinal(day) if day else None for day in ordinals.tolist()]
    return pa.array(days, pa.date32())


def _agreed_limits(
    world: World, products: Products, price: FloatArray, quota: IntArray
) -> dict[str, pa.Array]:
    """Return the monthly limits and the agreed ceilings of cost, which a few products state.

    A monthly limit is 18 to 28 full days. The ceilings are what a product with leads twice to five
    times as good as a broadcast's would pay.
    """
    random, number = world.random, np.arange(products.lender.size)
    model = PRICE_MODELS[products.price_model]

    def state(name: str, share: float, values: FloatArray) -> pa.Array:
        is_stated = random.uniform(f"has {name}", number) < share
        return pa.array(np.where(is_stated, values, np.nan), from_pandas=True)

    days = 18 + 10 * random.uniform("monthly days", number)
    daily_cost = quota * price * np.array(LIKELY_COST)[products.price_model]
    level = random.uniform("agreed cost", number)
    per_approval = np.where(model == "cpl", np.ceil(price * (5 + 7 * level)), np.nan)
    times = np.select([model == "cpl", model == "cpa"], [9 + 12 * level, 1.6 + level], np.nan)
    return {
        "monthly_quota": state("monthly quota", 0.05, np.ceil(quota * days)).cast(pa.int64()),
        "monthly_budget": state("monthly budget", 0.04, np.ceil(daily_cost * days)),
        "target_cost_per_approval": state("target per approval", 0.06, per_approval),
        "target_cost_per_funded": state("target per funded", 0.06, np.ceil(price * times)),
    }


def _budgets(world: World, products: Products, price: FloatArray, quota: IntArray) -> pa.Array:
    """Return each product's daily budget; most products have none beside their quota.

    A budget is between 0.9 and 1.7 times the likely cost of a day with a full quota.
    """
    random, number = world.random, np.arange(products.lender.size)
    likely = np.array(LIKELY_COST)[products.price_model]
    factor = 0.9 + 0.8 * random.uniform("budget", number)
    budget = np.ceil(quota * price * likely * factor)
    has_budget = random.uniform("has budget", number) < BUDGET_SHARE
    return pa.array(np.where(has_budget, budget, np.nan), pa.float64(), from_pandas=True)


def rule_table(products: Products) -> pa.Table:
    """Return the feed rows of the products' hard rules, with the position of the lender."""
    is_business = products.segment == BUSINESS
    number = np.arange(products.lender.size)
    person, firm = number[~is_business], number[is_business]
    refused = np.where(products.refuses_idle, "student|unemployed", "")
    rules = [
        _rules(number, "bureau_score", "ge", products.min_score),
        _rules(person, "income_monthly", "ge", products.min_income[person]),
        _rules(firm, "revenue_annual", "ge", products.min_income[firm]),
        _age_rules(person, products.age_min[person], products.age_max[person]),
        _rules(firm, "business_age_years", "ge", products.age_min[firm]),
        _rules(number, "employment", "not_in", refused),
        _rules(number, "region", "in", _join_allowed(products.regions, REGIONS)),
        _rules(number, "industry", "in", _join_allowed(products.industries, firms.INDUSTRIES)),
    ]
    table = pa.concat_tables(rules)
    product = table["number"].to_numpy()
    lender, name = products.lender[product], product_ids(products)[product]
    table = table.drop_columns("number").add_column(0, "lender", pa.array(lender))
    return table.add_column(1, "product_id", pa.array(name))


def _rules(number: IntArray, attribute: str, op: str, values: NDArray[np.generic]) -> pa.Table:
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


def _age_rules(number: IntArray, youngest: FloatArray, oldest: FloatArray) -> pa.Table:
    """Return one rule for each product with a lower limit of age, an upper one, or both."""
    has_both = ~np.isnan(youngest) & ~np.isnan(oldest)
    ends = np.nan_to_num(np.stack([youngest, oldest])).astype(np.int64).astype(np.str_)
    between = np.where(has_both, np.char.add(np.char.add(ends[0], "|"), ends[1]), "")
    return pa.concat_tables(
        [
            _rules(number, "age_years", "between", between),
            _rules(number, "age_years", "ge", np.where(has_both, np.nan, youngest)),
            _rules(number, "age_years", "le", np.where(has_both, np.nan, oldest)),
        ]
    )


def _join_allowed(allowed: BoolArray, names: TextArray) -> TextArray:
    """Return the allowed names of each product, joined; empty where all are allowed."""
    return np.array(["" if row.all() else "|".join(names[row]) for row in allowed], np.str_)


@dataclass(frozen=True)
class _Subjects:
    """Some people, or some firms, on one suppression list."""

    reason: str
    is_firm: bool
    number: IntArray


def suppression_table(world: World, lenders: Lenders, day: date) -> pa.Table:
    """Return the suppression lists of `day`; subjects are hashed, as the contract requires."""
    rows = map_in_threads(
        world.settings.threads,
        lambda subjects: _suppressions(world, lenders, subjects),
        list(_suppressed_subjects(world)),
    )
    with connect(world.settings) as connection:
        connection.register("subjects", pa.concat_tables(rows))
        query = Path(__file__).parent / "sql" / "hash_subjects.sql"
        hashed = connection.sql(read_query(query)).to_arrow_table()
        connection.unregister("subjects")
    return add_constants(hashed, {"effective_at": world.settings.day_start(day).isoformat()})


def _suppressed_subjects(world: World) -> Iterator[_Subjects]:
    """Yield the subjects of each list: the first numbers, since traits are random by number."""
    for count, is_firm in ((world.people, False), (world.firms, True)):
        begin = 0
        for reason, share in SUPPRESSED.items():
            end = begin + int(count * share)
            for chunk in split_into_chunks(np.arange(begin, end)):
                yield _Subjects(reason, is_firm, chunk)
            begin = end


def _suppressions(world: World, lenders: Lenders, subjects: _Subjects) -> pa.Table:
    number, reason = subjects.number, subjects.reason
    institution = pa.nulls(number.size, pa.string())
    if reason == BY_LENDER:
        address = (number, np.int64(subjects.is_firm))
        lender = world.random.integers("customer of", lenders.name.size, *address)
        institution = pa.array(lenders.name[lender], pa.string())
    subject_type = "phone" if reason == BY_PHONE else "id_number"
    table = to_arrow({"subject": _subject_values(world, subjects)})
    table = table.append_column("institution_id", institution)
    return add_constants(table, {"subject_type": subject_type, "reason": reason})


def _subject_values(world: World, subjects: _Subjects) -> AsciiArray:
    """Return the phone or identity number of each subject."""
    random, number = world.random, subjects.number
    if subjects.reason == BY_PHONE:
        return firms.firm_phones(number) if subjects.is_firm else identities.phones(number)
    if subjects.is_firm:
        return identities.credit_codes(firms.firm_regions(random, number), number)
    return identities.resident_numbers(*people.identity_parts(random, number))
