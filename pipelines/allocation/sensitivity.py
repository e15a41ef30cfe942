"""The price of one limit, measured by solving again with the limit changed.

The shadow prices of a plan are a subgradient of the dual function at one point. Where a limit is
scarce (a quota of three leads), its price changes with each unit, and a subgradient can be that of
the unit before or after. A measured price is the difference quotient

    (V(upper + change) - V(upper - change)) / (2 change)

of the value V of the linear relaxation, by the simplex method. It is exact up to `LP_CORE` pairs.
Of more, the pairs of smallest reduced cost are decided again, the others as the prices choose.
The values of two integer plans would differ by more than the price of a unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.allocation.allocate import Plan
from pipelines.allocation.mip_polish import compute_lp_value
from pipelines.allocation.moves import RestrictedProblem
from pipelines.allocation.problem import Limit, PairColumns, build_quota_limit, find_sort_order
from pipelines.allocation.relaxation import LP_CORE, Relaxation, SolverOptions, choose_penalties
from pipelines.core.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class PriceMeasurement:
    """The problem at a plan's prices, from which the prices of limits are measured."""

    _problem: RestrictedProblem
    _free: IntArray
    _fixed: BoolArray

    def measure_price(self, name: str, row: int, change: float) -> float:
        """Return the value of one more unit of a limit, over `change` units more and less.

        Args:
            name: Name of the limit.
            row: Row of the limit.
            change: Change of its upper limit, in units of the limit (leads, money), above 0. Of a
                floor it is less of it, so the price is the value that one unit of the floor costs.
        """
        limits = self._problem.limits
        index = [limit.name for limit in limits].index(name)
        limit = limits[index]
        units = float(np.broadcast_to(limit.units, len(limit.upper))[row])
        values, steps = [], []
        for sign in (1, -1):
            upper = limit.upper.copy()
            least = -np.inf if limit.is_floor or np.ndim(limit.units) else 0.0
            upper[row] = max(upper[row] + sign * change * units, least)
            changed = replace(limit, upper=upper)
            problem = replace(
                self._problem, limits=(*limits[:index], changed, *limits[index + 1 :])
            )
            values.append(compute_lp_value(problem, self._free, self._fixed))
            steps.append(upper[row] / units)
        return float((values[0] - values[1]) / (steps[0] - steps[1]))


def prepare_measurement(
    pairs: PairColumns,
    quota: IntArray,
    *,
    max_offers: int,
    limits: Sequence[Limit],
    plan: Plan,
) -> PriceMeasurement:
    """Return the problem at the plan's prices; the arguments are the ones of `allocate`.

    Floors that the plan misses are relaxed to what it attains.
    """
    order = find_sort_order(pairs)
    order = np.arange(len(pairs.lead)) if order is None else order
    ordered = pairs.take(order)
    further = [_relax(limit.take(order), plan.shortfall) for limit in limits]
    quota = np.minimum(quota, np.bincount(ordered.product, minlength=len(quota)) + 1)
    every_limit = (build_quota_limit(ordered.product, quota), *further)
    relaxation = Relaxation(ordered, every_limit, max_offers, SolverOptions())
    prices = [plan.limit_prices(limit) / limit.units for limit in every_limit]
    penalties = choose_penalties(every_limit, ordered.value)
    problem = relaxation.price_all_pairs(ordered.value, prices, penalties)
    distance = np.abs(problem.reduced_cost)
    free = np.sort(np.lexsort((problem.tie_break_key, distance))[:LP_CORE])
    fixed = problem.reduced_cost > 0
    fixed[free] = False
    return PriceMeasurement(problem, free, fixed)


def _relax(limit: Limit, shortfall: Mapping[str, FloatArray]) -> Limit:
    missed = shortfall.get(limit.name)
    return limit if missed is None else replace(limit, upper=limit.upper + missed * limit.units)
