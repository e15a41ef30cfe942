"""From scored pairs to the plan of a day: numbers for the allocation, then the budgets."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from pipelines.allocate import Candidates, allocate
from pipelines.budgets import affordable_quota, within_budget
from pipelines.network import Integers

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class DayPlan:
    """The matches of a day after budgets, as row numbers of `candidates`, and their proof."""

    chosen: Integers
    trimmed: Integers
    """Planned, then taken back because the product's budget doesn't reach that far."""
    value: float
    bound: float
    """No plan that keeps quotas and offers a lead is worth more; budgets could only lower it."""
    price_of_quota: Numbers
    """What one more lead a day would add, by `product_row`."""

    @property
    def gap(self) -> float:
        """Return the share of the bound that the value may fall short of the best plan."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def number_candidates(connection: duckdb.DuckDBPyConnection, day: date) -> None:
    """Create `candidates`: table `pairs` with `row`, codes, `match_id` and a `lottery` number.

    The match id comes from the date and the keys alone; its digits are the lottery, so a tie is
    broken by lot, the same way whoever else is there. Reads the tables `pairs` and `products`.
    """
    connection.execute(
        """
        create or replace table candidates as
        select
            *, cast('0x' || match_id[:8] as bigint) as lottery
        from (
            select
                row_number() over (order by channel_id, lead_id, product_row) - 1 as row,
                dense_rank() over (order by channel_id, lead_id) - 1 as lead_code,
                dense_rank() over (order by institution_id) - 1 as institution_code,
                product_row,
                sha256(concat_ws(chr(31), $day, channel_id, lead_id, institution_id, product_id))
                    [:32] as match_id,
                pairs.*
            from pairs join products using (institution_id, product_id)
        )
        order by row
        """,
        {"day": day.isoformat()},
    )


def plan_day(connection: duckdb.DuckDBPyConnection, *, most_offers: int) -> DayPlan:
    """Return the best plan for table `candidates` within the terms of table `products`."""
    pairs = connection.sql(
        """
        select lead_code, institution_code, product_row, expected_value, lottery, expected_spend
        from candidates order by row
        """
    ).fetchnumpy()
    terms = connection.sql(
        """
        select
            daily_quota as quota, cast(coalesce(daily_budget, 'nan') as double) as budget,
            price, price_model = 'cpl' as is_per_lead
        from products order by product_row
        """
    ).fetchnumpy()
    budget, is_per_lead = _numbers(terms["budget"]), np.asarray(terms["is_per_lead"], np.bool_)
    product, value, lottery = (
        _integers(pairs["product_row"]),
        _numbers(pairs["expected_value"]),
        _integers(pairs["lottery"]),
    )
    plan = allocate(
        Candidates(
            lead=_integers(pairs["lead_code"]),
            institution=_integers(pairs["institution_code"]),
            product=product,
            value=value,
            lottery=lottery,
        ),
        affordable_quota(_integers(terms["quota"]), budget, _numbers(terms["price"]), is_per_lead),
        most_offers=most_offers,
    )
    planned = np.flatnonzero(plan.chosen)
    keeps = within_budget(
        product[planned],
        _numbers(pairs["expected_spend"])[planned],
        budget,
        np.lexsort((-lottery[planned], -value[planned])),
    )
    lost = float(value[planned[~keeps]].sum())
    return DayPlan(
        chosen=planned[keeps],
        trimmed=planned[~keeps],
        value=plan.value - lost if lost else plan.value,
        bound=plan.bound,
        price_of_quota=plan.price_of_quota,
    )


def _integers(column: NDArray[np.generic]) -> Integers:
    return np.asarray(column, dtype=np.int64)


def _numbers(column: NDArray[np.generic]) -> Numbers:
    return np.asarray(column, dtype=np.float64)
