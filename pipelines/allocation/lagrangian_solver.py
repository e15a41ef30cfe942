"""Lagrangian relaxation: search prices, solve the lead subproblems, repair, polish.

    maximise    sum of value x - penalty x total shortfall of the floors
    subject to  the limits; at most K pairs a lead, one per institution

1. Remove the pairs whose own use exceeds the upper limit of a row.
2. Find the prices with the lowest dual bound (`dual_ascent`), with start prices from the linear
   program on small days.
3. Make the leads' choices at these prices feasible (`primal_repair`).
4. If the plan isn't within `TARGET_GAP` of the bound, re-optimise the pairs with the smallest
   reduced costs (`mip_polish`).
5. If a floor is missed: find the least total shortfall by a search that ignores value, and start
   again with the floors relaxed to what the plan attains.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.allocation.dual_ascent import DualSolution, StoppingRule, minimise_dual
from pipelines.allocation.lead_subproblem import LeadSubproblems
from pipelines.allocation.mip_polish import compute_lp_prices, polish
from pipelines.allocation.primal_repair import RestrictedProblem, improve, repair
from pipelines.allocation.problem import Limit, PairColumns
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

SMALL = 3_000
"""Up to this many pairs, prices start at the linear program's and all pairs are polished."""
TARGET_GAP = 1e-3
"""A plan with a smaller gap is not polished."""
POLISH_EFFORT = 0.5
"""Deterministic time of the integer solver; some seconds at most."""
MAX_POLISHED = 1_000
"""Most pairs that are polished: the pairs with the smallest absolute reduced cost."""
REACH = 0.5
"""The repair uses pairs whose reduced cost is above minus this share of a typical value."""
TIE_BREAK_UNIT = 2.0**-33
"""Value of one unit of tie-break key: pairs of equal value differ, by less than half a unit."""
SHORTFALL_UNIT = 1e4
"""Value of a lead in the search where only shortfalls count."""
ROUNDING = 1e-2
"""An excess over an integer number of leads that counts as rounding."""
LONGEST_CHAIN = 12
"""A unit of shortfall costs this many times the greatest value: more than any chain of moves."""


@dataclass(frozen=True)
class SolverOptions:
    """Division of the work, which leaves the result unchanged, and the stopping rule."""

    parts: int = 1
    threads: int = 1
    stop: StoppingRule = field(default_factory=StoppingRule)


@dataclass(frozen=True)
class Solution:
    """A plan of the pairs, in integer units of value."""

    chosen: BoolArray
    limits: tuple[Limit, ...]
    """The limits that the plan satisfies: infeasible floors are relaxed to what it attains."""
    prices: Sequence[FloatArray]
    shortfall: Mapping[str, FloatArray] = field(default_factory=dict)
    min_shortfall: int = 0
    evaluations: int = 0


def solve_lagrangian(
    pairs: PairColumns,
    value: FloatArray,
    limits: tuple[Limit, ...],
    max_offers: int,
    *,
    start: Mapping[str, FloatArray],
    options: SolverOptions,
) -> Solution:
    """Return a near-optimal plan, with the prices that certify its gap.

    Args:
        pairs: The pairs, by lead, institution and product.
        value: Value of each pair, in integer units, > 0.
        limits: The limits.
        max_offers: Most pairs of one lead.
        start: Limit -> start prices, in units of value per unit of the limit.
        options: Division of the work, and the stopping rule.
    """
    relaxation = _Relaxation(pairs, limits, max_offers, options)
    penalty = LONGEST_CHAIN * float(value.max(initial=0))
    best, least = relaxation.solve(value, penalty, start), 0
    if best.missed:
        without_value = relaxation.solve(np.zeros_like(value), SHORTFALL_UNIT, {})
        least = max(0, math.ceil(-without_value.dual.bound / SHORTFALL_UNIT - ROUNDING))
        if best.missed > without_value.missed:
            best = relaxation.solve(value, penalty, start, floor_plan=without_value.chosen)
    shortfall = {
        limit.name: limit.shortfall(np.flatnonzero(best.chosen))
        for limit in limits
        if limit.is_floor
    }
    if best.missed:  # the relaxed floors have other prices, and perhaps a better plan
        limits = tuple(_relax_floor(limit, np.flatnonzero(best.chosen)) for limit in limits)
        relaxation = _Relaxation(pairs, limits, max_offers, options)
        again = relaxation.solve(value, penalty, start, floor_plan=best.chosen)
        best = replace(best if again.missed else again, dual=again.dual)
    return Solution(
        chosen=best.chosen,
        limits=limits,
        prices=relaxation.split_by_limit(best.dual.prices),
        shortfall=shortfall,
        min_shortfall=least,
        evaluations=best.dual.evaluations,
    )


@dataclass(frozen=True)
class _Incumbent:
    """The best plan of one search."""

    chosen: BoolArray
    dual: DualSolution
    missed: int
    """Total shortfall of the floors."""


class _Relaxation:
    """Pairs and limits of a day, without the pairs whose own use exceeds a row."""

    def __init__(
        self,
        pairs: PairColumns,
        limits: tuple[Limit, ...],
        max_offers: int,
        options: SolverOptions,
    ) -> None:
        self.limits = limits
        self._pairs, self._max_offers, self._options = pairs, max_offers, options
        is_possible = np.ones(len(pairs.lead), np.bool_)
        for limit in limits:
            if not limit.is_floor:
                use = 1 if limit.use is None else limit.use
                is_possible &= np.append(limit.upper, np.inf)[limit.row] >= use
        self._possible = np.flatnonzero(is_possible)
        upper = np.concatenate([limit.upper for limit in limits])
        self._is_limited = np.isfinite(upper)
        self._upper = np.where(self._is_limited, upper, 0)

    def split_by_limit(self, prices: FloatArray) -> list[FloatArray]:
        return np.split(prices, np.cumsum([len(limit.upper) for limit in self.limits])[:-1])

    def solve(
        self,
        value: FloatArray,
        penalty: float,
        start: Mapping[str, FloatArray],
        floor_plan: BoolArray | None = None,
    ) -> _Incumbent:
        """Return the best plan found; with `floor_plan`, starting the local search from it."""
        rows = self._possible
        problem = RestrictedProblem(
            self._pairs.lead[rows],
            self._pairs.lead_institution[rows],
            value[rows] + self._pairs.tie_break_key[rows] * TIE_BREAK_UNIT,
            self._pairs.tie_break_key[rows],
            tuple(limit.take(rows) for limit in self.limits),
            self._max_offers,
            penalty,
        )
        leads = LeadSubproblems(
            problem.lead,
            problem.group,
            problem.value,
            problem.limits,
            max_offers=self._max_offers,
            parts=self._options.parts,
            threads=self._options.threads,
        )
        dual = self._search_prices(leads, problem, start)
        is_small = len(rows) <= SMALL
        reach = np.inf if is_small else REACH * _typical_value(problem)
        near, reduced_cost = leads.find_near_choice(self.split_by_limit(dual.prices), reach)
        if is_small:  # all pairs, with the pairs that have a better one at their institution
            every_cost = np.full(len(rows), -np.inf)
            every_cost[near] = reduced_cost
            near, reduced_cost = np.arange(len(rows)), every_cost
        restricted = problem.take(near)
        plan = repair(restricted, reduced_cost > 0, reduced_cost)
        if floor_plan is not None:
            plan = improve(restricted, floor_plan[rows[near]])
        if is_small or restricted.compute_objective(plan) < dual.bound * (1 - TARGET_GAP):
            free = _select_free(restricted, reduced_cost)
            plan = improve(restricted, polish(restricted, plan, free, effort=POLISH_EFFORT))
        chosen = np.zeros(len(value), np.bool_)
        chosen[rows[near[plan]]] = True
        missed = sum(
            int(limit.shortfall(np.flatnonzero(chosen)).sum())
            for limit in self.limits
            if limit.is_floor
        )
        return _Incumbent(chosen, dual, missed)

    def _search_prices(
        self,
        leads: LeadSubproblems,
        problem: RestrictedProblem,
        start: Mapping[str, FloatArray],
    ) -> DualSolution:
        """Return the prices with the lowest dual bound."""
        sizes = [len(limit.upper) for limit in self.limits]
        begin = np.concatenate(
            [
                start[limit.name] / limit.units
                if limit.name in start and len(start[limit.name]) == size
                else np.zeros(size)
                for limit, size in zip(self.limits, sizes, strict=True)
            ]
        )
        highest = np.concatenate(
            [
                np.full(size, problem.penalty if limit.is_floor else np.inf)
                for limit, size in zip(self.limits, sizes, strict=True)
            ]
        )
        if 0 < len(problem.lead) <= SMALL:
            lp_prices = compute_lp_prices(problem)
            if lp_prices is not None:
                begin = np.concatenate(lp_prices)
        scale = np.repeat(_typical_prices(problem), sizes)
        begin = np.where(self._is_limited, begin, 0)

        def dual(prices: FloatArray) -> tuple[float, FloatArray]:
            demand = leads.solve(self.split_by_limit(prices))
            bound = demand.surplus + math.fsum((self._upper * prices).tolist())
            subgradient = self._upper - np.concatenate(demand.use)
            return bound, np.where(self._is_limited, subgradient, 0)

        return minimise_dual(dual, begin, highest, scale, self._options.stop)


def _typical_prices(problem: RestrictedProblem) -> list[float]:
    """Return a typical price of each limit: a typical value over a typical use."""
    value, prices = _typical_value(problem), []
    for limit in problem.limits:
        use = np.abs(limit.pair_use(np.arange(len(limit.row))))
        use = use[use > 0]
        prices.append(value / (float(np.median(use)) if len(use) else 1.0))
    return prices


def _typical_value(problem: RestrictedProblem) -> float:
    """Return the median value of a pair, or the penalty where pairs have no value."""
    value = float(np.median(problem.value)) if len(problem.value) else 1.0
    return value if value > 1 else problem.penalty or 1.0


def _select_free(problem: RestrictedProblem, reduced_cost: FloatArray) -> IntArray:
    """Return the pairs of smallest absolute reduced cost; all where there are few."""
    if len(reduced_cost) <= SMALL:
        return np.arange(len(reduced_cost))
    nearest = np.lexsort((problem.tie_break_key, np.abs(reduced_cost)))
    return nearest[:MAX_POLISHED]


def _relax_floor(limit: Limit, rows: IntArray) -> Limit:
    """Return a floor lowered to what the given pairs attain; any other limit as it is."""
    if not limit.is_floor:
        return limit
    return replace(limit, upper=limit.upper + limit.shortfall(rows))
