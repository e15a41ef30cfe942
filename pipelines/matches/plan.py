"""From scored pairs to the plan of a day: numbers for the allocation, and what binds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from pipelines.matches.allocate import allocate
from pipelines.matches.budgets import affordable_quota
from pipelines.matches.candidates import Candidates, Integers, Numbers
from pipelines.matches.constraints import Limit, budgets


@dataclass(frozen=True)
class DayPlan:
    """The matches of a day, as row numbers of table `pairs`, and their proof."""

    chosen: Integers
    short_of_budget: Integers
    """Not chosen, and dearer than what the plan leaves of their product's budget."""
    value: float
    bound: float
    """No plan that keeps quotas, budgets and offers a lead is worth more."""
    gap: float
    """The share of the bound that the value may fall short of the best plan."""
    price_of_quota: Numbers
    """What one more lead a day would add, by `product_row`."""
    price_of_budget: Numbers
    """What one more unit of money a day (the product's currency) would add, by `product_row`."""
    candidates: Candidates
    """What was chosen from, in the order of table `pairs`."""
    quota: Integers
    """Leads a day that each product can take and pay for, by `product_row`."""
    limits: tuple[Limit, ...]
    """What the plan keeps besides."""
    prices: Mapping[str, Numbers]
    """By name of the limit, as `allocate` tells them."""


def plan_day(connection: duckdb.DuckDBPyConnection, day: date, *, most_offers: int) -> DayPlan:
    """Return the best plan of a day.

    A product that pays per lead spends the same for every match, so its budget is a quota; that of
    the others is a limit of expected spend.

    Args:
        connection: With the tables `leads` (`lead_row`), `products` (`product_row`) and `pairs`
            (`row`: its place in the file; expected value and spend).
        day: The business date.
        most_offers: Most matches of one lead.
    """
    terms = connection.sql(
        """
        select
            daily_quota as quota, cast(coalesce(daily_budget, 'nan') as double) as budget,
            price, price_model = 'cpl' as is_per_lead
        from products order by product_row
        """
    ).fetchnumpy()
    budget, is_per_lead = _numbers(terms["budget"]), np.asarray(terms["is_per_lead"], np.bool_)
    quota = affordable_quota(
        _integers(terms["quota"]), budget, _numbers(terms["price"]), is_per_lead
    )
    candidates, spend = _candidates(connection, day)
    by_result = np.where(is_per_lead, np.nan, budget)
    money = budgets(candidates.product, spend, by_result)
    plan = allocate(candidates, quota, most_offers=most_offers)
    if money.broken(np.flatnonzero(plan.chosen)):  # else the exact plan of quotas keeps them, too
        plan = allocate(candidates, quota, most_offers=most_offers, limits=(money,))
    price_of_budget = plan.prices.get("budget", np.zeros(len(quota)))
    left = money.most - money.used(np.flatnonzero(plan.chosen))
    is_short = ~plan.chosen & (money.of_pairs(np.arange(len(spend))) > left[candidates.product])
    return DayPlan(
        chosen=np.flatnonzero(plan.chosen),
        short_of_budget=np.flatnonzero(is_short),
        value=plan.value,
        bound=plan.bound,
        gap=plan.gap,
        price_of_quota=plan.price_of_quota,
        price_of_budget=price_of_budget,
        candidates=candidates,
        quota=quota,
        limits=(money,),
        prices=plan.prices,
    )


def _candidates(connection: duckdb.DuckDBPyConnection, day: date) -> tuple[Candidates, Numbers]:
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
    candidates = Candidates(
        lead=_integers(pairs["lead_row"]),
        institution=_integers(pairs["institution_row"]),
        product=_integers(pairs["product_row"]),
        value=_numbers(pairs["expected_value"]),
        lottery=_drawn(*lots),
    )
    return candidates, _numbers(pairs["expected_spend"])


def _drawn(lead_lot: NDArray[np.uint64], product_lot: NDArray[np.uint64]) -> Integers:
    """Return a number below 2**32 for each pair of lots, evenly spread (splitmix64's finaliser)."""
    mixed = lead_lot ^ (product_lot * np.uint64(0x9E3779B97F4A7C15))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return _integers((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32))


def _integers(column: NDArray[np.generic]) -> Integers:
    return np.asarray(column, dtype=np.int64)


def _numbers(column: NDArray[np.generic]) -> Numbers:
    return np.asarray(column, dtype=np.float64)
