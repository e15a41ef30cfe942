"""Lagrangian relaxation: search prices, solve the lead subproblems, repair, polish.

    maximise    sum of value x - sum over the floors of penalty x shortfall
    subject to  the limits; at most K pairs a lead, one per institution

1. Remove the pairs whose own use exceeds the upper limit of a row, with all negative uses in it.
2. Find the prices with the lowest dual bound (`dual_ascent`), with start prices from the linear
   program on small days.
3. Make the leads' choices at these prices feasible (`primal_repair`).
4. If the plan isn't within `TARGET_GAP` of the bound, re-optimise the pairs with the smallest
   reduced costs (`mip_polish`).
5. If a floor in leads is missed: find the least total shortfall by a search that ignores value, and
   start again with these floors relaxed to what the plan attains.
6. If a floor in money is missed: find the most money of any plan, a search with the money as value.
   If it attains the floor, start again from its plan, with a price of money as high as needed.
   Otherwise relax the floor to `MISSED_SHARE` of what it attains, so that value isn't destroyed for
   the last yuan.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.allocation.dual_ascent import DualSolution, StoppingRule, minimise_dual
from pipelines.allocation.lead_subproblem import LeadSubproblems
from pipelines.allocation.mip_polish import compute_lp_prices, polish
from pipelines.allocation.primal_repair import RestrictedProblem, improve, repair
from pipelines.allocation.problem import Limit, PairColumns, find_possible_pairs
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
"""A missing lead costs this many times the greatest value: more than any chain of moves."""
MONEY_PENALTY = 100.0
"""Missing money costs this many times the mean value of a pair by unit of money."""
MISSED_SHARE = 0.99
"""A floor that isn't attained is relaxed to this share of the most money found."""


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
    min_money_shortfall: float = 0.0
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
    search = _Search(pairs, value, limits, max_offers, start=start, options=options)
    search.solve()
    search.relax_lead_floors()
    for index in range(len(limits)):
        search.relax_money_floor(index)
    rows = np.flatnonzero(search.best.chosen)
    return Solution(
        chosen=search.best.chosen,
        limits=search.limits,
        prices=_split_by_limit(search.best.dual.prices, limits),
        shortfall={limit.name: limit.shortfall(rows) for limit in limits if limit.is_floor},
        min_shortfall=search.min_shortfall,
        min_money_shortfall=search.min_money_shortfall,
        evaluations=search.best.dual.evaluations,
    )


class _Search:
    """The best plan so far, and the limits with the floors relaxed so far."""

    def __init__(
        self,
        pairs: PairColumns,
        value: FloatArray,
        limits: tuple[Limit, ...],
        max_offers: int,
        *,
        start: Mapping[str, FloatArray],
        options: SolverOptions,
    ) -> None:
        self.limits = limits
        self.min_shortfall = 0
        self.min_money_shortfall = 0.0
        self._pairs, self._value, self._start = pairs, value, start
        self._max_offers, self._options = max_offers, options

    def solve(self) -> None:
        self.best = self._solve(self.limits)

    def _solve(
        self, limits: tuple[Limit, ...], floor_plan: BoolArray | None = None
    ) -> "_Incumbent":
        relaxation = _Relaxation(self._pairs, limits, self._max_offers, self._options)
        penalties = _choose_penalties(limits, self._value)
        return relaxation.solve(self._value, penalties, self._start, floor_plan)

    def relax_lead_floors(self) -> None:
        """If floors in leads are missed, find the least shortfall and relax them to it."""
        if not self.best.missed_leads:
            return
        relaxation = _Relaxation(self._pairs, self.limits, self._max_offers, self._options)
        only_leads = [
            SHORTFALL_UNIT if limit.is_floor and not limit.is_money_floor else 0.0
            for limit in self.limits
        ]
        fewest = relaxation.solve(np.zeros_like(self._value), only_leads, {})
        bound = -fewest.dual.bound / SHORTFALL_UNIT
        self.min_shortfall = max(0, math.ceil(bound - ROUNDING))
        if self.best.missed_leads > fewest.missed_leads:
            self.best = self._solve(self.limits, fewest.chosen)
        rows = np.flatnonzero(self.best.chosen)
        self.limits = tuple(
            replace(limit, upper=limit.upper + limit.shortfall(rows))
            if limit.is_floor and not limit.is_money_floor
            else limit
            for limit in self.limits
        )
        again = self._solve(self.limits, self.best.chosen)
        # the relaxed floors have other prices, and perhaps a better plan
        self.best = replace(self.best if again.missed_leads else again, dual=again.dual)

    def relax_money_floor(self, index: int) -> None:
        """If a floor in money is missed, attain it or relax it to what can nearly be attained."""
        limit = self.limits[index]
        attained = self._sum_money(limit, self.best)
        if not limit.is_money_floor or attained >= -limit.upper[0]:
            return
        most = self._solve_for_money(index)
        self.min_money_shortfall += max(0, math.ceil(-limit.upper[0] - most.dual.bound)) / float(
            limit.units
        )
        largest = self._sum_money(limit, most)
        least = float(-limit.upper[0])
        if largest < least:
            least = max(math.floor(MISSED_SHARE * largest), attained)
        relaxed = replace(limit, upper=np.array([-least]))
        self.limits = (*self.limits[:index], relaxed, *self.limits[index + 1 :])
        floor_plan = most if attained < least else self.best
        again = self._solve(self.limits, floor_plan.chosen)
        is_missed = self._sum_money(limit, again) < least or again.missed_leads
        self.best = replace(floor_plan if is_missed else again, dual=again.dual)

    def _solve_for_money(self, index: int) -> "_Incumbent":
        """Return the plan of the most money within all other limits."""
        limit = self.limits[index]
        money = np.maximum(-limit.pair_use(np.arange(len(limit.row))), 0)
        others = self.limits[:index] + self.limits[index + 1 :]
        relaxation = _Relaxation(self._pairs, others, self._max_offers, self._options)
        penalties = _choose_penalties(others, money)
        return relaxation.solve(money, penalties, {}, self.best.chosen)

    def _sum_money(self, limit: Limit, plan: "_Incumbent") -> float:
        return float(-limit.total_use(np.flatnonzero(plan.chosen))[0])


def _choose_penalties(limits: Sequence[Limit], value: FloatArray) -> list[float]:
    """Return the value of one unit of shortfall by limit; 0 for a limit that always holds.

    A lead that a floor misses costs more than any value and any money that a chain of moves brings.
    """
    every_pair = np.arange(len(value))
    total, greatest = float(value.sum()), float(value.max(initial=0))
    penalties = [0.0] * len(limits)
    for index, limit in enumerate(limits):
        if limit.is_money_floor:
            money = np.abs(limit.pair_use(every_pair))
            penalties[index] = MONEY_PENALTY * total / max(float(money.sum()), 1.0)
            greatest += penalties[index] * float(money.max(initial=0))
    return [
        LONGEST_CHAIN * greatest if limit.is_floor and not limit.is_money_floor else penalty
        for limit, penalty in zip(limits, penalties, strict=True)
    ]


def _split_by_limit(prices: FloatArray, limits: Sequence[Limit]) -> list[FloatArray]:
    return np.split(prices, np.cumsum([len(limit.upper) for limit in limits])[:-1])


@dataclass(frozen=True)
class _Incumbent:
    """The best plan of one search."""

    chosen: BoolArray
    dual: DualSolution
    missed_leads: int
    """Total shortfall of the floors in leads."""


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
        self._possible = find_possible_pairs(limits, len(pairs.lead))
        upper = np.concatenate([limit.upper for limit in limits])
        self._is_limited = np.isfinite(upper)
        self._upper = np.where(self._is_limited, upper, 0)

    def solve(
        self,
        value: FloatArray,
        penalties: Sequence[float],
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
            tuple(penalties),
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
        attained = [
            floor_plan is not None
            and limit.is_money_floor
            and limit.is_satisfied(np.flatnonzero(floor_plan))
            for limit in self.limits
        ]
        caps = [
            penalty if limit.is_floor and not is_attained else np.inf
            for limit, penalty, is_attained in zip(self.limits, penalties, attained, strict=True)
        ]
        dual = self._search_prices(leads, problem, start, caps)
        is_small = len(rows) <= SMALL
        reach = np.inf if is_small else REACH * _typical_value(problem)
        near, reduced_cost = leads.find_near_choice(
            _split_by_limit(dual.prices, self.limits), reach
        )
        if is_small:  # all pairs, with the pairs that have a better one at their institution
            every_cost = np.full(len(rows), -np.inf)
            every_cost[near] = reduced_cost
            near, reduced_cost = np.arange(len(rows)), every_cost
        elif floor_plan is not None:
            near, reduced_cost = _add_pairs(near, reduced_cost, np.flatnonzero(floor_plan[rows]))
        restricted = problem.take(near)
        plan = repair(restricted, reduced_cost > 0, reduced_cost)
        if floor_plan is not None:
            from_floor = improve(restricted, floor_plan[rows[near]])
            plan = max(from_floor, plan, key=restricted.rank)
        if is_small or restricted.compute_objective(plan) < dual.bound * (1 - TARGET_GAP):
            free = _select_free(restricted, reduced_cost)
            plan = improve(restricted, polish(restricted, plan, free, effort=POLISH_EFFORT))
        chosen = np.zeros(len(value), np.bool_)
        chosen[rows[near[plan]]] = True
        missed = sum(
            int(limit.shortfall(np.flatnonzero(chosen)).sum())
            for limit in self.limits
            if limit.is_floor and not limit.is_money_floor
        )
        return _Incumbent(chosen, dual, missed)

    def _search_prices(
        self,
        leads: LeadSubproblems,
        problem: RestrictedProblem,
        start: Mapping[str, FloatArray],
        caps: Sequence[float],
    ) -> DualSolution:
        """Return the prices with the lowest dual bound; `caps`: highest price, by limit."""
        sizes = [len(limit.upper) for limit in self.limits]
        begin = np.concatenate(
            [
                start[limit.name] / limit.units
                if limit.name in start and len(start[limit.name]) == size
                else np.zeros(size)
                for limit, size in zip(self.limits, sizes, strict=True)
            ]
        )
        highest = np.repeat(caps, sizes)
        if 0 < len(problem.lead) <= SMALL:
            lp_prices = compute_lp_prices(problem)
            if lp_prices is not None:
                begin = np.concatenate(lp_prices)
        scale = np.concatenate(_typical_prices(problem))
        begin = np.where(self._is_limited, begin, 0)

        def dual(prices: FloatArray) -> tuple[float, FloatArray]:
            demand = leads.solve(_split_by_limit(prices, self.limits))
            bound = demand.surplus + math.fsum((self._upper * prices).tolist())
            subgradient = self._upper - np.concatenate(demand.use)
            return bound, np.where(self._is_limited, subgradient, 0)

        return minimise_dual(dual, begin, highest, scale, self._options.stop)


def _typical_prices(problem: RestrictedProblem) -> list[FloatArray]:
    """Return a typical price of each row: a typical value over the limit's typical use."""
    value, prices = _typical_value(problem), []
    for limit in problem.limits:
        units = np.broadcast_to(np.append(limit.units, 1.0)[:-1], len(limit.upper))
        use = np.abs(limit.pair_use(np.arange(len(limit.row)))) / np.append(units, 1.0)[limit.row]
        use = use[use > 0]
        typical = float(np.median(use)) if len(use) else 1.0
        prices.append(value / (typical * units))
    return prices


def _typical_value(problem: RestrictedProblem) -> float:
    """Return the median value of a pair, or a penalty where pairs have no value."""
    value = float(np.median(problem.value)) if len(problem.value) else 1.0
    return value if value > 1 else max(problem.penalties) or 1.0


def _add_pairs(
    near: IntArray, reduced_cost: FloatArray, further: IntArray
) -> tuple[IntArray, FloatArray]:
    """Return the pairs with `further` ones, whose reduced cost is out of reach, in rising order."""
    further = np.setdiff1d(further, near, assume_unique=True)
    rows = np.concatenate([near, further])
    order = np.argsort(rows)
    costs = np.concatenate([reduced_cost, np.full(len(further), -np.inf)])
    return rows[order], costs[order]


def _select_free(problem: RestrictedProblem, reduced_cost: FloatArray) -> IntArray:
    """Return the pairs of smallest absolute reduced cost; all where there are few."""
    if len(reduced_cost) <= SMALL:
        return np.arange(len(reduced_cost))
    nearest = np.lexsort((problem.tie_break_key, np.abs(reduced_cost)))
    return nearest[:MAX_POLISHED]
