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
7. If a gap is left in a plan of up to `MAX_CHOSEN` pairs, improve bound and plan by
   `column_generation`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.allocation.column_generation import generate_columns
from pipelines.allocation.primal_repair import improve
from pipelines.allocation.problem import Limit, PairColumns
from pipelines.allocation.relaxation import (
    SMALL,
    TARGET_GAP,
    TIE_BREAK_UNIT,
    Incumbent,
    Relaxation,
    SolverOptions,
    choose_penalties,
    split_by_limit,
)
from pipelines.core.arrays import BoolArray, FloatArray

SHORTFALL_UNIT = 1e4
"""Value of a lead in the search where only shortfalls count."""
ROUNDING = 1e-2
"""An excess over an integer number of leads that counts as rounding."""
MISSED_SHARE = 0.99
"""A floor that isn't attained is relaxed to this share of the most money found."""

MAX_CHOSEN = 10_000
"""Most pairs of a plan that column generation improves; larger plans have a small gap."""
MAX_PAIRS = 600_000
"""Most pairs that column generation chooses from: half as many again take minutes."""


@dataclass(frozen=True)
class Solution:
    """A plan of the pairs, in integer units of value."""

    chosen: BoolArray
    limits: tuple[Limit, ...]
    """The limits that the plan satisfies: infeasible floors are relaxed to what it attains."""
    prices: Sequence[FloatArray]
    bound: float = math.inf
    """Bound by column generation; infinite where it wasn't used."""
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
    search.generate_columns()
    rows = np.flatnonzero(search.best.chosen)
    return Solution(
        chosen=search.best.chosen,
        limits=search.limits,
        prices=split_by_limit(search.best.dual.prices, limits),
        bound=search.bound,
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
        self.bound = math.inf
        self.min_shortfall = 0
        self.min_money_shortfall = 0.0
        self._pairs, self._value, self._start = pairs, value, start
        self._max_offers, self._options = max_offers, options

    def solve(self) -> None:
        self.best = self._solve(self.limits)

    def _solve(self, limits: tuple[Limit, ...], floor_plan: BoolArray | None = None) -> Incumbent:
        relaxation = Relaxation(self._pairs, limits, self._max_offers, self._options)
        penalties = choose_penalties(limits, self._value)
        return relaxation.solve(self._value, penalties, self._start, floor_plan)

    def relax_lead_floors(self) -> None:
        """If floors in leads are missed, find the least shortfall and relax them to it."""
        if not self.best.missed_leads:
            return
        relaxation = Relaxation(self._pairs, self.limits, self._max_offers, self._options)
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
            least = float(math.floor(MISSED_SHARE * largest))
        relaxed = replace(limit, upper=np.array([-least]))
        self.limits = (*self.limits[:index], relaxed, *self.limits[index + 1 :])
        floor_plan = most if attained < least else self.best
        again = self._solve(self.limits, floor_plan.chosen)
        is_missed = self._sum_money(limit, again) < least or again.missed_leads
        self.best = replace(floor_plan if is_missed else again, dual=again.dual)

    def generate_columns(self) -> None:
        """If a gap is left in a plan of few pairs, improve the plan and find a lower bound."""
        chosen = np.flatnonzero(self.best.chosen)
        has_gap = self._value[chosen].sum() < self.best.dual.bound * (1 - TARGET_GAP)
        if not has_gap or len(chosen) > MAX_CHOSEN:
            return
        relaxation = Relaxation(self._pairs, self.limits, self._max_offers, self._options)
        rows = relaxation.possible
        is_of_size = SMALL < len(rows) <= MAX_PAIRS and len(chosen) > 0
        is_satisfied = all(limit.is_satisfied(chosen) for limit in self.limits)
        if not (is_of_size and is_satisfied):
            return
        value = self._value + self._pairs.tie_break_key * TIE_BREAK_UNIT
        prices = split_by_limit(self.best.dual.prices, self.limits)
        penalties = choose_penalties(self.limits, self._value)
        problem = relaxation.price_all_pairs(value, prices, penalties)
        generated = generate_columns(problem, self.best.chosen[rows], prices)
        improved = np.zeros_like(self.best.chosen)
        improved[rows[improve(problem, generated.chosen)]] = True
        self.best, self.bound = replace(self.best, chosen=improved), generated.bound

    def _solve_for_money(self, index: int) -> Incumbent:
        """Return the plan of the most money within all other limits."""
        limit = self.limits[index]
        money = np.maximum(-limit.pair_use(np.arange(len(limit.row))), 0)
        others = self.limits[:index] + self.limits[index + 1 :]
        relaxation = Relaxation(self._pairs, others, self._max_offers, self._options)
        penalties = choose_penalties(others, money)
        return relaxation.solve(money, penalties, {}, self.best.chosen)

    def _sum_money(self, limit: Limit, plan: Incumbent) -> float:
        return float(-limit.total_use(np.flatnonzero(plan.chosen))[0])
