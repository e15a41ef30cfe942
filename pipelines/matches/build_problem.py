"""From scored pairs to the plan of a day: numbers for the allocation, and what binds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations.policy_types import Limits
from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import Limit, PairColumns, build_budget_limit, build_quota_limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.matches.budgets import affordable_quota
from pipelines.matches.policy_limits import (
    Day,
    Family,
    Product,
    exposed,
    least_exposed,
    paced,
    promised,
)
from pipelines.matches.shadow_prices import Told, prices_table, told_by


@dataclass(frozen=True)
class DayPlan:
    """The matches of a day, as row numbers of table `pairs`, and their proof."""

    chosen: IntArray
    short_of_budget: IntArray
    """Not chosen, and dearer than what the plan leaves of their product's budget."""
    short_of_share: IntArray
    """Not chosen, and their lead's channel or group has all of the product that policy allows."""
    value: float
    bound: float
    """No plan that keeps quotas, budgets, offers a lead and what policy asks is worth more; floors
    that no plan was found to keep count as lowered."""
    gap: float
    """The share of the bound that the value may fall short of the best plan."""
    price_of_quota: FloatArray
    """What one more lead a day would add, by `product_row`."""
    price_of_budget: FloatArray
    """What one more unit of money a day (the product's currency) would add, by `product_row`; of
    products that pay per lead the price of quota says it."""
    told: pa.Table
    """Every limit, what was used of it and its price; see `prices.SCHEMA`."""
    least_shortfall: int
    """No plan misses the floors by fewer leads in all: proven, perhaps not attained."""
    candidates: PairColumns
    """What was chosen from, in the order of table `pairs`."""
    quota: IntArray
    """Leads a day that each product can take and pay for, by `product_row`."""
    limits: tuple[Limit, ...]
    """What the plan keeps besides."""
    prices: Mapping[str, FloatArray]
    """By name of the limit, as `allocate` tells them."""


def plan_day(
    connection: duckdb.DuckDBPyConnection, day: date, *, most_offers: int, limits: Limits
) -> DayPlan:
    """Return the best plan of a day.

    A product that pays per lead spends the same for every match, so its budget is a quota; that of
    the others is a limit of expected spend.

    Args:
        connection: With the tables `leads` (`lead_row`), `products` (`product_row`) and `pairs`
            (`row`: its place in the file; expected value and spend).
        day: The business date.
        most_offers: Most matches of one lead.
        limits: What policy asks for on that day.

    Raises:
        IntegrityError: Policy limits by a column that the leads don't have.
    """
    terms = _terms(connection)
    candidates, spend = _candidates(connection, day)
    numbered = Day(connection, candidates, terms.affordable, terms.products)
    by_result = np.where(terms.is_per_lead, np.nan, terms.budget)
    money = build_budget_limit(candidates.product, spend, by_result)
    caps = [*paced(numbered, limits.pacing), *exposed(numbered, limits.exposure)]
    families = [*caps, *promised(numbered, limits.floors)]

    def keeping(plan: Plan) -> Plan:
        """Return the plan itself where it keeps all limits, else one that does."""
        binding = (money, *(family.limit for family in families))
        if all(limit.is_satisfied(plan.rows) for limit in binding):
            return plan
        return allocate(candidates, terms.affordable, most_offers=most_offers, limits=binding)

    plan = keeping(allocate(candidates, terms.affordable, most_offers=most_offers))
    if least := least_exposed(numbered, limits.exposure, len(plan.rows)):
        families += least
        plan = keeping(plan)
    told = [*_catalogue(numbered, terms, money, plan), *(told_by(plan, each) for each in families)]
    return DayPlan(
        chosen=plan.rows,
        short_of_budget=np.flatnonzero(_finds_full(money, plan)),
        short_of_share=np.flatnonzero(
            np.logical_or.reduce(
                [np.zeros_like(plan.chosen), *(_finds_full(cap.limit, plan) for cap in caps)]
            )
        ),
        value=plan.value,
        bound=plan.bound,
        gap=plan.gap,
        price_of_quota=plan.price_of_quota,
        price_of_budget=plan.limit_prices(money),
        told=prices_table(told),
        least_shortfall=plan.least_shortfall + sum(family.out_of_reach for family in families),
        candidates=candidates,
        quota=terms.affordable,
        limits=(money, *(family.limit for family in families)),
        prices=plan.prices,
    )


def _finds_full(limit: Limit, plan: Plan) -> BoolArray:
    """Return which pairs aren't chosen and need more of their row than the plan leaves."""
    left = np.append(limit.upper - limit.total_use(plan.rows), np.inf)
    return ~plan.chosen & (limit.pair_use(np.arange(len(limit.row))) > left[limit.row])


@dataclass(frozen=True)
class _Terms:
    """What the catalogue asks, by `product_row`."""

    products: list[Product]
    quota: IntArray
    budget: FloatArray
    price: FloatArray
    is_per_lead: BoolArray

    @property
    def affordable(self) -> IntArray:
        """Return the leads a day that each product can take and, paying per lead, can afford."""
        return affordable_quota(self.quota, self.budget, self.price, self.is_per_lead)


def _terms(connection: duckdb.DuckDBPyConnection) -> _Terms:
    columns = connection.sql(
        """
        select
            institution_id, product_id, price, price_model = 'cpl' as is_per_lead,
            daily_quota as quota, cast(coalesce(daily_budget, 'nan') as double) as budget
        from products order by product_row
        """
    ).fetchnumpy()
    names = zip(columns["institution_id"], columns["product_id"], strict=True)
    return _Terms(
        products=[(str(institution), str(product)) for institution, product in names],
        quota=_integers(columns["quota"]),
        budget=_numbers(columns["budget"]),
        price=_numbers(columns["price"]),
        is_per_lead=np.asarray(columns["is_per_lead"], np.bool_),
    )


def _catalogue(day: Day, terms: _Terms, money: Limit, plan: Plan) -> tuple[Told, Told]:
    """Return what became of quotas and budgets.

    Where a product pays per lead and its budget buys less than its quota, it is the budget that the
    price of a place is due to.
    """
    whom, price = day.by_product(), plan.price_of_quota
    limit = build_quota_limit(day.candidates.product, terms.quota)
    matches = limit.total_use(plan.rows)
    is_by_budget = terms.affordable < terms.quota
    of_money = np.where(terms.is_per_lead, 0.0, plan.limit_prices(money))
    of_money[is_by_budget] = price[is_by_budget] / terms.price[is_by_budget]
    spent = np.where(
        terms.is_per_lead, matches * terms.price, money.total_use(plan.rows) / money.units
    )
    return (
        Told(Family("quota", limit, whom, limit.upper), matches, np.where(is_by_budget, 0, price)),
        Told(Family("budget", money, whom, terms.budget), spent, of_money),
    )


def _candidates(connection: duckdb.DuckDBPyConnection, day: date) -> tuple[PairColumns, FloatArray]:
    """Return table `pairs` as numbers, in the order of its rows, and each pair's spend.

    The lottery number of a pair comes from the date and its own keys alone, so a tie is broken
    by lot, the same way whoever else is there.
    """
    pairs = connection.execute(
        """
        select
            lead_row, institution_row, product_row, expected_value, expected_spend,
            lead_lot, product_lot
        from pairs
        join (
            select
                channel_id, lead_id, lead_row,
                md5_number_lower(concat_ws(chr(31), $day, channel_id, lead_id)) as lead_lot
            from leads
        ) using (channel_id, lead_id)
        join (
            select
                institution_id, product_id, product_row,
                dense_rank() over (order by institution_id) - 1 as institution_row,
                md5_number_lower(concat_ws(chr(31), institution_id, product_id)) as product_lot
            from products
        ) using (institution_id, product_id)
        order by row
        """,
        {"day": day.isoformat()},
    ).fetchnumpy()
    lots = np.asarray(pairs["lead_lot"], np.uint64), np.asarray(pairs["product_lot"], np.uint64)
    candidates = PairColumns(
        lead=_integers(pairs["lead_row"]),
        institution=_integers(pairs["institution_row"]),
        product=_integers(pairs["product_row"]),
        value=_numbers(pairs["expected_value"]),
        tie_break_key=_drawn(*lots),
    )
    return candidates, _numbers(pairs["expected_spend"])


def _drawn(lead_lot: NDArray[np.uint64], product_lot: NDArray[np.uint64]) -> IntArray:
    """Return a number below 2**32 for each pair of lots, evenly spread (splitmix64's finaliser)."""
    mixed = lead_lot ^ (product_lot * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return _integers((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32))


def _integers(column: NDArray[np.generic]) -> IntArray:
    return np.asarray(column, dtype=np.int64)


def _numbers(column: NDArray[np.generic]) -> FloatArray:
    return np.asarray(column, dtype=np.float64)
