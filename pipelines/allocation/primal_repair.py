"""Make the leads' choices feasible, and improve the plan by moves of single leads.

At good prices the choices violate few rows, and by little.

1. For each row that is violated, drop the pairs of smallest reduced cost until it holds.
2. In rounds, until no move gains: each lead proposes its best move (a pair that enters, alone or in
   place of one of the lead's pairs),

       gain = value in - value out  (+ penalty for each unit of shortfall that it removes)

   and each row accepts the proposals of greatest gain that fit into its remaining capacity.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.allocation.problem import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

MAX_ROUNDS = 200


@dataclass(frozen=True)
class RestrictedProblem:
    """The pairs that may enter the plan, as columns of equal length."""

    lead: IntArray
    group: IntArray
    """Code of lead and institution."""
    value: FloatArray
    tie_break_key: IntArray
    limits: tuple[Limit, ...]
    max_offers: int
    penalty: float = 0.0
    """Value of one lead less in the shortfall of a floor."""

    def take(self, rows: IntArray) -> "RestrictedProblem":
        """Return the given pairs, in that order."""
        return replace(
            self,
            lead=self.lead[rows],
            group=self.group[rows],
            value=self.value[rows],
            tie_break_key=self.tie_break_key[rows],
            limits=tuple(limit.take(rows) for limit in self.limits),
        )

    def compute_slack(self, chosen: BoolArray) -> list[FloatArray]:
        """Return the remaining capacity of each row; below 0 where it is violated."""
        rows = np.flatnonzero(chosen)
        return [limit.upper - limit.total_use(rows) for limit in self.limits]

    def compute_objective(self, chosen: BoolArray) -> float:
        """Return the value of a plan, less the penalty for its shortfalls."""
        rows = np.flatnonzero(chosen)
        missed = sum(limit.shortfall(rows).sum() for limit in self.limits if limit.is_floor)
        return float(self.value[rows].sum() - self.penalty * missed)


def repair(problem: RestrictedProblem, chosen: BoolArray, reduced_cost: FloatArray) -> BoolArray:
    """Return a feasible plan near `chosen` that no single move improves.

    Args:
        problem: The pairs.
        chosen: The leads' choices: at most K each, one per institution.
        reduced_cost: Distance of each pair from the threshold of its lead's choice.
    """
    return improve(problem, _drop_excess(problem, chosen, reduced_cost))


def _drop_excess(
    problem: RestrictedProblem, chosen: BoolArray, reduced_cost: FloatArray
) -> BoolArray:
    """Return `chosen` without the pairs of smallest reduced cost that exceed a row."""
    feasible = chosen.copy()
    for limit in problem.limits:
        if limit.is_floor:
            continue
        rows = np.flatnonzero(feasible)
        row, use = limit.row[rows], limit.pair_use(rows)
        order = np.lexsort((problem.tie_break_key[rows], -reduced_cost[rows], row))
        fits = _sum_within_row(row[order], use[order]) <= np.append(limit.upper, np.inf)[row[order]]
        feasible[rows[order[~fits]]] = False
    return feasible


def improve(problem: RestrictedProblem, chosen: BoolArray) -> BoolArray:
    """Return the plan after moves of single leads, until none gains."""
    plan = chosen.copy()
    for _ in range(MAX_ROUNDS):
        moves = _propose_moves(problem, plan)
        is_accepted = (
            _accept_moves(problem, plan, moves) if len(moves.enters) else np.zeros(0, np.bool_)
        )
        if not is_accepted.any():
            break
        leaves = moves.leaves[is_accepted]
        plan[moves.enters[is_accepted]] = True
        plan[leaves[leaves >= 0]] = False
    return plan


@dataclass(frozen=True)
class _Moves:
    """One move by lead: the pair that enters, the pair that leaves (-1: none), the gain."""

    enters: IntArray
    leaves: IntArray
    gain: FloatArray

    def take(self, rows: NDArray[np.generic]) -> "_Moves":
        return _Moves(self.enters[rows], self.leaves[rows], self.gain[rows])


def _propose_moves(problem: RestrictedProblem, plan: BoolArray) -> _Moves:
    """Return the best move of each lead that has one, by falling gain."""
    value_in, value_out = problem.value.copy(), problem.value.copy()
    can_enter = ~plan
    for limit, slack in zip(problem.limits, problem.compute_slack(plan), strict=True):
        pair_slack = np.append(slack, np.inf)[limit.row]
        if limit.is_floor:
            value_in += problem.penalty * (pair_slack < 0)
            value_out += problem.penalty * (pair_slack <= 0)
        else:
            can_enter &= pair_slack >= (1 if limit.use is None else limit.use)
    enters = np.flatnonzero(can_enter)
    leaves = _find_displaced(problem, np.flatnonzero(plan), value_out, enters)
    gain = value_in[enters] - np.where(leaves >= 0, value_out[leaves], 0)
    moves = _Moves(enters, leaves, gain).take(gain > 0)
    key = problem.tie_break_key
    order = np.lexsort((key[moves.enters], -moves.gain, problem.lead[moves.enters]))
    lead = problem.lead[moves.enters[order]]
    best = moves.take(order[np.diff(lead, prepend=-1) != 0])
    return best.take(np.lexsort((key[best.enters], -best.gain)))


def _find_displaced(
    problem: RestrictedProblem, planned: IntArray, value: FloatArray, enters: IntArray
) -> IntArray:
    """Return the pair that each entering pair displaces; -1: none.

    It is the lead's pair at the same institution, else the lead's pair of least value if the lead
    has its most offers.
    """
    if len(planned) == 0:
        return np.full(len(enters), -1)
    by_group = planned[np.argsort(problem.group[planned])]
    at = np.searchsorted(problem.group[by_group], problem.group[enters]).clip(max=len(planned) - 1)
    same = by_group[at]
    is_same = problem.group[same] == problem.group[enters]
    by_lead = planned[
        np.lexsort((problem.tie_break_key[planned], value[planned], problem.lead[planned]))
    ]
    leads = problem.lead[by_lead]
    start = np.searchsorted(leads, problem.lead[enters])
    number = np.searchsorted(leads, problem.lead[enters], side="right") - start
    least = by_lead[start.clip(max=len(planned) - 1)]
    return np.where(is_same, same, np.where(number >= problem.max_offers, least, -1))


def _accept_moves(problem: RestrictedProblem, plan: BoolArray, moves: _Moves) -> BoolArray:
    """Return which moves fit together; `moves` by falling gain.

    Conservative: capacity that leaving pairs release is used in the next round only, and in one
    round a floor is neither left short nor filled beyond its shortfall.
    """
    fits = np.ones(len(moves.enters), np.bool_)
    rows = np.flatnonzero(plan)
    has_leaving = moves.leaves >= 0
    for limit in problem.limits:
        slack: FloatArray = np.append(limit.upper - limit.total_use(rows), np.inf)
        row, use = limit.row[moves.enters], limit.pair_use(moves.enters)
        no_row = len(limit.upper)
        if limit.is_floor:
            row_out = limit.row[moves.leaves]
            is_out = has_leaving & (row_out != row) & (slack[row_out] >= 0)
            fits &= ~is_out | _fit_into_slack(
                np.where(is_out, row_out, no_row), is_out.astype(np.float64), slack
            )
            is_in = slack[row] < 0
            fits &= ~is_in | _fit_into_slack(
                np.where(is_in, row, no_row), is_in.astype(np.float64), -slack
            )
        else:
            fits &= _fit_into_slack(row, use, slack)
    return fits


def _fit_into_slack(row: IntArray, use: FloatArray, slack: FloatArray) -> BoolArray:
    """Return which uses, in the order given, fit into the slack of their row."""
    order = np.argsort(row, kind="stable")
    fits = np.zeros(len(row), np.bool_)
    fits[order] = _sum_within_row(row[order], use[order]) <= slack[row[order]]
    return np.asarray(fits | (use == 0), np.bool_)


def _sum_within_row(row: IntArray, use: FloatArray) -> FloatArray:
    """Return the running sum of `use` within each row; `row` is sorted."""
    so_far = np.cumsum(use)
    first = np.searchsorted(row, row)
    return np.asarray(so_far - (so_far[first] - use[first]), np.float64)
