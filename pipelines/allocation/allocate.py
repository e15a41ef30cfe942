"""Choose the pairs of greatest total value within the limits, and certify the gap.

    maximise    sum of value over the chosen pairs
    subject to  each lead is chosen at most K times, and at most once per institution,
                each product is chosen at most quota times,
                and further limits: budgets, shares, floors

With quotas alone a min-cost flow is exact (`quota_flow`). Otherwise Lagrangian relaxation is used
(`lagrangian_solver`). In both cases the dual bound at the shadow prices p >= 0,

    D(p) = sum over limits of upper x price
         + sum over leads of the K best (value - sum of use x price), one per institution, if > 0

is at least the value of every feasible plan. `dual_bound` computes it from the pairs and the prices
alone and shares nothing with the search for the prices, so a solver error would show as a gap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from pipelines.allocation.lagrangian_solver import Solution, solve_lagrangian
from pipelines.allocation.problem import (
    Limit,
    PairColumns,
    build_quota_limit,
    find_possible_pairs,
    find_sort_order,
)
from pipelines.allocation.quota_flow import choose_units, solve_quotas
from pipelines.allocation.relaxation import SolverOptions
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

GROUPS_PER_CHUNK = 1 << 14
"""Leads that are ranked at once in the dual bound."""


@dataclass(frozen=True)
class Plan:
    """The chosen pairs, with the certificate of their quality."""

    chosen: BoolArray
    """Flag of each pair: it is a match."""
    value: float
    """Total value, in money."""
    bound: float
    """No plan within the limits has a greater value: the lower one of the dual bound at the prices
    and that of column generation."""
    linear_bound: float
    """Dual bound at the prices, near the value of the linear relaxation."""
    prices: Mapping[str, FloatArray]
    """Limit -> shadow price by row: the value that one more unit (a lead, a unit of money) adds."""
    shortfall: Mapping[str, FloatArray] = field(default_factory=dict)
    """Floor -> number of leads, or money, by which each row is missed."""
    min_shortfall: int = 0
    """Lower bound on the total shortfall, in leads, of every plan: proven, perhaps not attained."""
    min_money_shortfall: float = 0.0
    """Lower bound on the shortfall of a floor in money of every plan that misses no more leads."""
    evaluations: int = 0
    """Evaluations of the dual function."""

    @property
    def rows(self) -> IntArray:
        """Return the row numbers of the chosen pairs, in rising order."""
        return np.flatnonzero(self.chosen)

    def limit_prices(self, limit: Limit) -> FloatArray:
        """Return the shadow prices of `limit` by row; 0 where the plan didn't need the limit."""
        return self.prices.get(limit.name, np.zeros(len(limit.upper)))

    @property
    def price_of_quota(self) -> FloatArray:
        """Return the shadow price of each product's quota; 0 where quota is left."""
        return self.prices["quota"]

    @property
    def gap(self) -> float:
        """Return the certified gap, 1 - value / bound; 0: proven optimal."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def allocate(
    pairs: PairColumns,
    quota: IntArray,
    *,
    max_offers: int,
    limits: Sequence[Limit] = (),
    start: Mapping[str, FloatArray] | None = None,
    options: SolverOptions | None = None,
) -> Plan:
    """Choose the pairs of greatest total value; the same set in any order of the rows.

    Args:
        pairs: The pairs to choose from.
        quota: Most leads of each product, >= 0, by product code.
        max_offers: Most pairs chosen for one lead (K), >= 1.
        limits: Further limits over the same pairs, in the same order.
        start: Start prices, as `Plan.prices` of an earlier plan; a limit without prices, or with
            another number of rows, starts at 0.
        options: Division of the work, and the stopping rule.

    Raises:
        IntegrityError: A pair occurs twice, or its value isn't above 0.
    """
    order = find_sort_order(pairs)
    ordered = pairs if order is None else pairs.take(order)
    further = [limit if order is None else limit.take(order) for limit in limits]
    # A quota above the product's pairs is no limit; as a number it could overflow in a sum.
    quota = np.minimum(quota, np.bincount(ordered.product, minlength=len(quota)) + 1)
    units = choose_units(ordered, len(quota))
    value = np.rint(ordered.value * units)
    if not further:
        solution = _solve_flow(ordered, value, quota, max_offers)
    else:
        solution = solve_lagrangian(
            ordered,
            value,
            (build_quota_limit(ordered.product, quota), *further),
            max_offers,
            start={name: price * units for name, price in (start or {}).items()},
            options=options or SolverOptions(),
        )
    bound = dual_bound(
        ordered.lead, ordered.institution, value, solution.limits, solution.prices, max_offers
    )
    return Plan(
        chosen=_restore_order(solution.chosen, order),
        value=float(value[solution.chosen].sum()) / units,
        bound=min(bound, solution.bound) / units,
        linear_bound=bound / units,
        prices={
            limit.name: price / units * limit.units
            for limit, price in zip(solution.limits, solution.prices, strict=True)
        },
        shortfall={
            limit.name: solution.shortfall[limit.name] / limit.units
            for limit in solution.limits
            if limit.is_floor
        },
        min_shortfall=solution.min_shortfall,
        min_money_shortfall=solution.min_money_shortfall,
        evaluations=solution.evaluations,
    )


def _solve_flow(
    pairs: PairColumns, value: FloatArray, quota: IntArray, max_offers: int
) -> Solution:
    plan = solve_quotas(pairs, value.astype(np.int64), quota, max_offers)
    limits = (build_quota_limit(pairs.product, quota),)
    return Solution(plan.chosen, limits, [plan.price_of_quota.astype(np.float64)])


def _restore_order(chosen: BoolArray, order: IntArray | None) -> BoolArray:
    if order is None:
        return chosen
    restored = np.zeros(len(chosen), np.bool_)
    restored[order] = chosen
    return restored


def dual_bound(
    lead: IntArray,
    institution: IntArray,
    value: FloatArray,
    limits: Sequence[Limit],
    prices: Sequence[FloatArray],
    max_offers: int,
) -> float:
    """Return D(p) over the pairs that fit, in units of `value`; rounded up by lead.

    Args:
        lead: Lead code of each pair; pairs are sorted by lead and institution.
        institution: Institution code of each pair.
        value: Value of each pair.
        limits: The limits.
        prices: One array by limit, one price by row, >= 0.
        max_offers: Most pairs of one lead (K).
    """
    surplus = np.where(find_possible_pairs(len(value), limits), value, -np.inf)
    capacity_value = 0.0
    for limit, price in zip(limits, prices, strict=True):
        pair_price = np.append(price, 0.0)[limit.row]
        surplus -= pair_price if limit.use is None else pair_price * limit.use
        is_priced = price > 0
        capacity_value += math.fsum((limit.upper[is_priced] * price[is_priced]).tolist())
    if len(lead) == 0:
        return capacity_value
    is_first = (np.diff(lead, prepend=-1) != 0) | (np.diff(institution, prepend=-1) != 0)
    first = np.flatnonzero(is_first)
    best = np.maximum.reduceat(surplus, first)
    return capacity_value + _sum_best(lead[first], best, max_offers)


def _sum_best(lead: IntArray, surplus: FloatArray, count: int) -> int:
    """Return the sum of each lead's `count` largest surpluses, if positive, rounded up."""
    gains = np.flatnonzero(surplus > 0)
    lead, surplus = lead[gains], surplus[gains]
    start = np.flatnonzero(np.diff(lead, prepend=-1))
    chunks = [*start[::GROUPS_PER_CHUNK], len(lead)]
    total = 0
    for begin, end in pairwise(chunks):
        row = np.cumsum(np.diff(lead[begin:end], prepend=-1) != 0) - 1
        column = np.arange(end - begin) - np.searchsorted(row, row)
        matrix = np.zeros((int(row[-1]) + 1, max(int(column.max()) + 1, count)))
        matrix[row, column] = surplus[begin:end]
        largest = -np.partition(-matrix, count - 1, axis=1)[:, :count]
        total += int(np.ceil(largest).sum())
    return total
