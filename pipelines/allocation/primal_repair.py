"""Make the leads' choices feasible, and improve the plan by moves of single leads.

At good prices the choices violate few rows, and by little.

1. For each row that is violated, drop the pairs of positive use and smallest reduced cost until it
   holds. A dropped pair may have a negative use in another row: repeat until all rows hold.
2. In rounds, until no move gains: each lead proposes its best move (a pair that enters, alone or in
   place of one of the lead's pairs),

       gain = value in - value out  (+ penalty for each unit of shortfall that it removes)

   and each row accepts the proposals of greatest gain that fit into its remaining capacity. A move
   consumes capacity by a positive use that enters and by a negative use that leaves.
"""

from collections.abc import Sequence
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
    penalties: tuple[float, ...]
    """Value of one integer unit less in the shortfall of a floor, by limit; 0 for other limits."""

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
        penalty = sum(
            penalty * limit.shortfall(rows).sum()
            for limit, penalty in zip(self.limits, self.penalties, strict=True)
            if limit.is_floor
        )
        return float(self.value[rows].sum() - penalty)

    def rank(self, chosen: BoolArray) -> tuple[float, float, float]:
        """Return what a better plan has more of: first fewer leads missed, less money, then value.

        All numbers are negative shortfalls but the last, so that plans compare as tuples.
        """
        rows = np.flatnonzero(chosen)
        missed = [0.0, 0.0]
        for limit in self.limits:
            if limit.is_floor:
                missed[limit.is_money_floor] += float(limit.shortfall(rows).sum())
        return -missed[0], -missed[1], float(self.value[rows].sum())


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
    caps = [limit for limit in problem.limits if not limit.is_floor]
    has_dropped = True
    while has_dropped:
        has_dropped = False
        for limit in caps:
            rows = np.flatnonzero(feasible)
            row, use = limit.row[rows], limit.pair_use(rows)
            rank = np.where(use > 0, -reduced_cost[rows], -np.inf)
            order = np.lexsort((problem.tie_break_key[rows], rank, row))
            upper = np.append(limit.upper, np.inf)[row[order]]
            fits = (_sum_within_row(row[order], use[order]) <= upper) | (use[order] <= 0)
            feasible[rows[order[~fits]]] = False
            has_dropped |= not fits.all()
        has_dropped &= any(limit.least_use().any() for limit in caps)
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
    """Return the best feasible move of each lead that has one, by falling gain."""
    value_in, value_out = problem.value.copy(), problem.value.copy()
    can_enter = ~plan
    slacks = [np.append(slack, np.inf) for slack in problem.compute_slack(plan)]
    for limit, slack, penalty in zip(problem.limits, slacks, problem.penalties, strict=True):
        pair_slack = slack[limit.row]
        if limit.use is None:
            can_enter &= pair_slack >= 1
        elif limit.is_floor:
            value_in += penalty * _reduce_shortfall(pair_slack, limit.use)
            value_out -= penalty * _reduce_shortfall(pair_slack, -limit.use)
        else:
            can_enter &= (limit.use <= pair_slack) | (limit.use <= 0)
            value_out[(limit.use < 0) & (limit.use + pair_slack < 0)] = np.inf
    enters = np.flatnonzero(can_enter)
    leaves = _find_displaced(problem, np.flatnonzero(plan), value_out, enters)
    moves = _evaluate_moves(problem, slacks, _Moves(enters, leaves, value_in[enters]))
    key = problem.tie_break_key
    order = np.lexsort((key[moves.enters], -moves.gain, problem.lead[moves.enters]))
    lead = problem.lead[moves.enters[order]]
    best = moves.take(order[np.diff(lead, prepend=-1) != 0])
    return best.take(np.lexsort((key[best.enters], -best.gain)))


def _reduce_shortfall(slack: FloatArray, use: FloatArray) -> FloatArray:
    """Return the units of shortfall that a use removes from a row with that slack."""
    return np.asarray(np.minimum(slack - use, 0) - np.minimum(slack, 0), np.float64)


def _evaluate_moves(
    problem: RestrictedProblem, slacks: Sequence[FloatArray], moves: _Moves
) -> _Moves:
    """Return the moves that gain and violate no row, with their exact gains.

    Args:
        problem: The pairs.
        slacks: Remaining capacity of each row by limit, with one more for pairs in no row.
        moves: Their gain is that of the entering pair alone.
    """
    is_swap = moves.leaves >= 0
    moves = replace(moves, gain=moves.gain - is_swap * problem.value[moves.leaves])
    fits = np.ones(len(moves.enters), np.bool_)
    for limit, slack, penalty in zip(problem.limits, slacks, problem.penalties, strict=True):
        if limit.use is None:
            continue  # a pair that leaves consumes nothing
        change = _measure_change(limit, moves)
        slack_in, slack_out = slack[change.row_in], slack[change.row_out]
        if limit.is_floor:
            alone = _reduce_shortfall(slack_in, limit.pair_use(moves.enters))
            removed = _reduce_shortfall(slack_in, change.use_in)
            removed += _reduce_shortfall(slack_out, change.use_out)
            moves = replace(moves, gain=moves.gain + penalty * (removed - alone))
            if limit.is_money_floor:
                fits &= removed >= 0
        else:
            fits &= (change.use_in <= np.maximum(slack_in, 0)) & (
                change.use_out <= np.maximum(slack_out, 0)
            )
    return moves.take(fits & (moves.gain > 0))


@dataclass(frozen=True)
class _Change:
    """The change of use by each move, in the row of the entering and of the leaving pair."""

    row_in: IntArray
    use_in: FloatArray
    row_out: IntArray
    use_out: FloatArray
    """0 where both pairs lie in one row, or none leaves; above 0: a negative use leaves."""


def _measure_change(limit: Limit, moves: _Moves) -> _Change:
    is_swap = moves.leaves >= 0
    row_in, row_out = limit.row[moves.enters], limit.row[moves.leaves]
    use_in, use_out = limit.pair_use(moves.enters), is_swap * limit.pair_use(moves.leaves)
    is_same = row_in == row_out
    return _Change(row_in, use_in - is_same * use_out, row_out, np.where(is_same, 0, -use_out))


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

    Conservative: capacity that moves release is used in the next round only, and in one round a
    floor is neither left short nor filled by two moves beyond its shortfall.
    """
    fits = np.ones(len(moves.enters), np.bool_)
    for limit, row_slack in zip(problem.limits, problem.compute_slack(plan), strict=True):
        slack: FloatArray = np.append(row_slack, np.inf)
        if limit.use is None:
            fits &= _fit_into_slack(limit.row[moves.enters], limit.pair_use(moves.enters), slack)
            continue
        change = _measure_change(limit, moves)
        no_row = len(row_slack)
        row = np.column_stack([change.row_in, change.row_out]).reshape(-1)
        use = np.column_stack([change.use_in, change.use_out]).reshape(-1)
        is_short = slack[row] < 0
        if limit.is_floor:
            fills = np.where(is_short, np.maximum(-use, 0), 0)
            fits_floor = _fit_into_slack(
                np.where(fills > 0, row, no_row), fills, -slack, is_first_exempt=True
            )
            fits &= fits_floor.reshape(-1, 2).all(axis=1)
            use = np.where(is_short, 0, use)
        use = np.maximum(use, 0)
        fits &= (
            _fit_into_slack(np.where(use > 0, row, no_row), use, slack).reshape(-1, 2).all(axis=1)
        )
    return fits


def _fit_into_slack(
    row: IntArray, use: FloatArray, slack: FloatArray, *, is_first_exempt: bool = False
) -> BoolArray:
    """Return which uses, in the order given, fit into the slack of their row.

    With `is_first_exempt`, the first of each row may exceed it.
    """
    order = np.argsort(row, kind="stable")
    fits = np.zeros(len(row), np.bool_)
    sorted_row = row[order]
    fits[order] = _sum_within_row(sorted_row, use[order]) <= slack[sorted_row]
    if is_first_exempt:
        fits[order] |= np.diff(sorted_row, prepend=-1) != 0
    return np.asarray(fits | (use == 0), np.bool_)


def _sum_within_row(row: IntArray, use: FloatArray) -> FloatArray:
    """Return the running sum of `use` within each row; `row` is sorted."""
    so_far = np.cumsum(use)
    first = np.searchsorted(row, row)
    return np.asarray(so_far - (so_far[first] - use[first]), np.float64)
