"""Choose the day's matches: the most value that the constraints allow.

    maximise   sum of value over the chosen pairs
    such that  each lead is chosen at most K times, and at most once per institution,
               each product is chosen at most quota times,
               and what else limits say: budgets, shares, floors

With quotas alone a cheapest flow is exact (`flow`). Else prices decompose the problem into leads
(`dual`), and what leads ask for is made a plan in whole numbers (`repair`, `exact`). Either way the
Lagrangian bound at the prices (`bound`) says how far at most the plan is from the best one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.allocation.constraints import Limit, quotas
from pipelines.allocation.dual_bound import lagrangian_bound
from pipelines.allocation.lagrangian_solver import Settings, Solution, solve
from pipelines.allocation.problem import Candidates, in_order
from pipelines.allocation.quota_flow import best_flow, finest_units
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

__all__ = ["Candidates", "Plan", "allocate"]


@dataclass(frozen=True)
class Plan:
    """What was chosen, and the proof of how good it is."""

    chosen: BoolArray
    """Which rows of the candidates are matches."""
    value: float
    """Their value, in money."""
    bound: float
    """No plan that keeps the constraints is worth more."""
    prices: Mapping[str, FloatArray]
    """Limit -> what one unit more of each of its rows (a lead, a unit of money) would add."""
    shortfall: Mapping[str, FloatArray] = field(default_factory=dict)
    """Floor -> by how many leads each of its rows is missed."""
    least_shortfall: int = 0
    """No plan that keeps all else misses them by less in all: proven, perhaps not attained."""
    evaluations: int = 0
    """How often the leads were asked at prices."""

    @property
    def rows(self) -> IntArray:
        """Return the rows of the candidates that are matches, in rising order."""
        return np.flatnonzero(self.chosen)

    def price_of(self, limit: Limit) -> FloatArray:
        """Return the prices of `limit`, by row; 0 where the plan didn't need to look at it."""
        return self.prices.get(limit.name, np.zeros(len(limit.most)))

    @property
    def price_of_quota(self) -> FloatArray:
        """Return what one more lead a day would add, by product; 0 where quota is left."""
        return self.prices["quota"]

    @property
    def gap(self) -> float:
        """Return the share of the bound that the plan may fall short of it; 0 is proven best."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def allocate(
    candidates: Candidates,
    quota: IntArray,
    *,
    most_offers: int,
    limits: Sequence[Limit] = (),
    start: Mapping[str, FloatArray] | None = None,
    settings: Settings | None = None,
) -> Plan:
    """Choose the pairs of greatest total value; the same set whatever the order of the rows.

    Args:
        candidates: The pairs to choose from.
        quota: Most leads of each product, >= 0, by product code.
        most_offers: Most pairs that one lead is chosen for (K), >= 1.
        limits: What else binds; rows are those of `candidates`.
        start: Prices to begin with, as an earlier plan told them; a limit that it lacks, or has
            of another size, begins at 0.
        settings: How the leads are cut and worked on, and when the search is content.

    Raises:
        Broken: A pair is there twice, or its value isn't above 0.
    """
    order = in_order(candidates)
    pairs = candidates if order is None else candidates.take(order)
    others = [limit if order is None else limit.take(order) for limit in limits]
    units = finest_units(pairs, len(quota))
    worth = np.rint(pairs.value * units)
    if not others:
        solution = _by_flow(pairs, worth, quota, most_offers)
    else:
        solution = solve(
            pairs,
            worth,
            (quotas(pairs.product, quota), *others),
            most_offers,
            start={name: price * units for name, price in (start or {}).items()},
            settings=settings or Settings(),
        )
    bound = lagrangian_bound(
        pairs.lead, pairs.institution, worth, solution.limits, solution.prices, most_offers
    )
    return Plan(
        chosen=_as_given(solution.chosen, order),
        value=float(worth[solution.chosen].sum()) / units,
        bound=bound / units,
        prices={
            limit.name: price / units * limit.units
            for limit, price in zip(solution.limits, solution.prices, strict=True)
        },
        shortfall=solution.shortfall,
        least_shortfall=solution.least_shortfall,
        evaluations=solution.evaluations,
    )


def _by_flow(pairs: Candidates, worth: FloatArray, quota: IntArray, most_offers: int) -> Solution:
    flow = best_flow(pairs, worth.astype(np.int64), quota, most_offers)
    limits = (quotas(pairs.product, quota),)
    return Solution(flow.chosen, limits, [flow.price_of_quota.astype(np.float64)])


def _as_given(chosen: BoolArray, order: IntArray | None) -> BoolArray:
    if order is None:
        return chosen
    given = np.zeros(len(chosen), np.bool_)
    given[order] = chosen
    return given
