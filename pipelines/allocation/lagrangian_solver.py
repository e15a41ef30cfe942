"""The plan by prices: search them, ask the leads, repair, reoptimise what is contested."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipelines.allocation.constraints import Limit
from pipelines.allocation.dual_ascent import Lowest, Stop, lowest
from pipelines.allocation.lead_subproblem import Leads
from pipelines.allocation.mip_polish import exact_prices, reoptimised
from pipelines.allocation.primal_repair import Contest, improved, repaired
from pipelines.allocation.problem import Candidates
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

SMALL = 3_000
"""Up to so many pairs the prices are those of the linear program."""
NEAR_ENOUGH = 1e-3
"""A plan that is proven within this share of the best one is not worked on further."""
EFFORT = 0.5
"""Most work on the contested pairs, in the solver's deterministic time; some seconds at most."""
MOST_CONTESTED = 1_000
"""Pairs that are reoptimised at most: those nearest to their lead's choice turning."""
REACH = 0.5
"""Pairs within this share of a typical worth of being taken may be used in the repair."""
LOTTERY = 2.0**-33
"""Worth of a lottery number: together with it two pairs differ, by less than half a unit."""
UNIT = 1e4
"""Worth of a lead where only shortfalls count."""
ROUNDING = 1e-2
"""So much above a whole number of leads is rounding."""
SWAPS = 12
"""A shortfall costs so many times the greatest worth, to be dearer than any chain of moves."""


@dataclass(frozen=True)
class Settings:
    """How the work is cut (the result is the same) and when it is content (it isn't)."""

    parts: int = 1
    threads: int = 1
    stop: Stop = field(default_factory=Stop)


@dataclass(frozen=True)
class Solution:
    """A plan of the pairs, in units of worth."""

    chosen: BoolArray
    limits: tuple[Limit, ...]
    """The constraints that it keeps: floors that can't be kept are lowered to what can."""
    prices: Sequence[FloatArray]
    shortfall: Mapping[str, FloatArray] = field(default_factory=dict)
    least_shortfall: int = 0
    evaluations: int = 0


def solve(
    pairs: Candidates,
    worth: FloatArray,
    limits: tuple[Limit, ...],
    most_offers: int,
    *,
    start: Mapping[str, FloatArray],
    settings: Settings,
) -> Solution:
    """Return a plan near the best one, with prices that prove how near.

    Args:
        pairs: The pairs, by lead, institution and product.
        worth: Of each pair, in whole units, > 0.
        limits: The constraints.
        most_offers: Most pairs of one lead.
        start: Limit -> prices to begin with, in units of worth for one unit of what is limited.
        settings: How.
    """
    problem = _Problem(pairs, worth, limits, most_offers, settings)
    penalty = SWAPS * float(worth.max(initial=0))
    found, least = problem.solved(worth, penalty, start), 0
    if found.missed:
        free_of_worth = problem.solved(np.zeros_like(worth), UNIT, {})
        least = max(0, math.ceil(-free_of_worth.search.bound / UNIT - ROUNDING))
        if found.missed > free_of_worth.missed:
            found = problem.solved(worth, penalty, start, floor_plan=free_of_worth.chosen)
    shortfall = {
        limit.name: limit.shortfall(np.flatnonzero(found.chosen))
        for limit in limits
        if limit.is_floor
    }
    if found.missed:  # the floors as lowered have other prices, and perhaps a better plan
        limits = tuple(_lowered(limit, np.flatnonzero(found.chosen)) for limit in limits)
        problem = _Problem(pairs, worth, limits, most_offers, settings)
        again = problem.solved(worth, penalty, start, floor_plan=found.chosen)
        found = replace(found if again.missed else again, search=again.search)
    return Solution(
        chosen=found.chosen,
        limits=limits,
        prices=problem.split(found.search.prices),
        shortfall=shortfall,
        least_shortfall=least,
        evaluations=found.search.evaluations,
    )


@dataclass(frozen=True)
class _Found:
    chosen: BoolArray
    search: Lowest
    missed: int


class _Problem:
    """Pairs and limits of a day, without the pairs that can't be taken at all."""

    def __init__(
        self,
        pairs: Candidates,
        worth: FloatArray,
        limits: tuple[Limit, ...],
        most_offers: int,
        settings: Settings,
    ) -> None:
        self.limits = limits
        self._pairs, self._most_offers, self._settings = pairs, most_offers, settings
        self._group = pairs.lead * (int(pairs.institution.max(initial=0)) + 1) + pairs.institution
        is_possible = np.ones(len(worth), np.bool_)
        for limit in limits:
            if not limit.is_floor:
                use = 1 if limit.use is None else limit.use
                is_possible &= np.append(limit.most, np.inf)[limit.row] >= use
        self._possible = np.flatnonzero(is_possible)
        most = np.concatenate([limit.most for limit in limits])
        self._is_bound = np.isfinite(most)
        self._most = np.where(self._is_bound, most, 0)

    def split(self, prices: FloatArray) -> list[FloatArray]:
        return np.split(prices, np.cumsum([len(limit.most) for limit in self.limits])[:-1])

    def solved(
        self,
        worth: FloatArray,
        penalty: float,
        start: Mapping[str, FloatArray],
        floor_plan: BoolArray | None = None,
    ) -> _Found:
        rows = self._possible
        told_apart = worth[rows] + self._pairs.lottery[rows] * LOTTERY
        limits = tuple(limit.take(rows) for limit in self.limits)
        leads = Leads(
            self._pairs.lead[rows],
            self._group[rows],
            told_apart,
            limits,
            most_offers=self._most_offers,
            parts=self._settings.parts,
            threads=self._settings.threads,
        )
        everyone = Contest(
            self._pairs.lead[rows],
            self._group[rows],
            told_apart,
            self._pairs.lottery[rows],
            limits,
            self._most_offers,
            penalty,
        )
        search = self._search(leads, everyone, start)
        is_small = len(rows) <= SMALL
        reach = np.inf if is_small else REACH * _typical(everyone)
        near, margin = leads.within(self.split(search.prices), reach)
        if is_small:  # all pairs, those that yield to another of their institution as well
            margin_of_all = np.full(len(rows), -np.inf)
            margin_of_all[near] = margin
            near, margin = np.arange(len(rows)), margin_of_all
        contest = everyone.take(near)
        plan = repaired(contest, margin > 0, margin)
        if floor_plan is not None:
            plan = improved(contest, floor_plan[rows[near]])
        if is_small or contest.worth_of(plan) < search.bound * (1 - NEAR_ENOUGH):
            contested = _contested(contest, margin)
            plan = improved(contest, reoptimised(contest, plan, contested, effort=EFFORT))
        chosen = np.zeros(len(worth), np.bool_)
        chosen[rows[near[plan]]] = True
        taken = np.flatnonzero(chosen)
        missed = sum(int(each.shortfall(taken).sum()) for each in self.limits if each.is_floor)
        return _Found(chosen, search, missed)

    def _search(self, leads: Leads, everyone: Contest, start: Mapping[str, FloatArray]) -> Lowest:
        """Return the prices at which the bound is lowest."""
        sizes = [len(limit.most) for limit in self.limits]
        begin = np.concatenate(
            [
                start[each.name] / each.units
                if each.name in start and len(start[each.name]) == size
                else np.zeros(size)
                for each, size in zip(self.limits, sizes, strict=True)
            ]
        )
        highest = np.concatenate(
            [
                np.full(size, everyone.penalty if each.is_floor else np.inf)
                for each, size in zip(self.limits, sizes, strict=True)
            ]
        )
        if 0 < len(everyone.lead) <= SMALL:
            exact = exact_prices(everyone)
            if exact is not None:
                begin = np.concatenate(exact)
        scale = np.repeat(_scales(everyone), sizes)
        begin = np.where(self._is_bound, begin, 0)

        def dual(prices: FloatArray) -> tuple[float, FloatArray]:
            demand = leads.demand(self.split(prices))
            bound = demand.surplus + math.fsum((self._most * prices).tolist())
            left = self._most - np.concatenate(demand.used)
            return bound, np.where(self._is_bound, left, 0)

        return lowest(dual, begin, highest, scale, self._settings.stop)


def _scales(everyone: Contest) -> list[float]:
    """Return a typical price of each limit: a typical worth over a typical use."""
    worth, scales = _typical(everyone), []
    for limit in everyone.limits:
        used = np.abs(limit.of_pairs(np.arange(len(limit.row))))
        used = used[used > 0]
        scales.append(worth / (float(np.median(used)) if len(used) else 1.0))
    return scales


def _typical(everyone: Contest) -> float:
    """Return what a pair is worth, or a lead of a floor where pairs are worth nothing."""
    worth = float(np.median(everyone.worth)) if len(everyone.worth) else 1.0
    return worth if worth > 1 else everyone.penalty or 1.0


def _contested(contest: Contest, margin: FloatArray) -> IntArray:
    """Return the pairs whose choice is nearest to turning; all where there are few."""
    if len(margin) <= SMALL:
        return np.arange(len(margin))
    nearest = np.lexsort((contest.lottery, np.abs(margin)))
    return nearest[:MOST_CONTESTED]


def _lowered(limit: Limit, rows: IntArray) -> Limit:
    """Return a floor at what the plan reaches, where that is less."""
    if not limit.is_floor:
        return limit
    return replace(limit, most=limit.most + limit.shortfall(rows))
