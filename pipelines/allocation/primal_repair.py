"""From what leads ask for at the prices to a plan in whole numbers that keeps every constraint.

At good prices the leads' own choices break few constraints, and by little. So those choices of a
constraint go that are nearest to turning, until it holds; then, in rounds, what is free is given
away again: each lead proposes the move that gains most (another pair, or one in place of one it
has), and each constraint accepts the proposals of greatest gain that fit into its room together.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.allocation.constraints import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

MOST_ROUNDS = 200


@dataclass(frozen=True)
class Contest:
    """The pairs that may be in the plan, as columns of equal length."""

    lead: IntArray
    group: IntArray
    """Code of lead and institution."""
    worth: FloatArray
    lottery: IntArray
    limits: tuple[Limit, ...]
    most_offers: int
    penalty: float = 0.0
    """Worth of one lead less in the shortfall of a floor."""

    def take(self, rows: IntArray) -> "Contest":
        """Return the given pairs, in that order."""
        return replace(
            self,
            lead=self.lead[rows],
            group=self.group[rows],
            worth=self.worth[rows],
            lottery=self.lottery[rows],
            limits=tuple(limit.take(rows) for limit in self.limits),
        )

    def room(self, chosen: BoolArray) -> list[FloatArray]:
        """Return what is left of each constraint; below 0 where it is broken."""
        rows = np.flatnonzero(chosen)
        return [limit.most - limit.used(rows) for limit in self.limits]

    def worth_of(self, chosen: BoolArray) -> float:
        """Return the worth of a plan, less the penalty for its shortfalls."""
        rows = np.flatnonzero(chosen)
        missed = sum(limit.shortfall(rows).sum() for limit in self.limits if limit.is_floor)
        return float(self.worth[rows].sum() - self.penalty * missed)


def repaired(contest: Contest, chosen: BoolArray, margin: FloatArray) -> BoolArray:
    """Return a plan near `chosen` that keeps every constraint and has no room to gain.

    Args:
        contest: The pairs.
        chosen: What the leads ask for: at most K each, one per institution.
        margin: How far each pair is from its lead's choice turning.
    """
    return improved(contest, _without_excess(contest, chosen, margin))


def _without_excess(contest: Contest, chosen: BoolArray, margin: FloatArray) -> BoolArray:
    """Return `chosen` without what breaks a constraint, least margin first."""
    kept = chosen.copy()
    for limit in contest.limits:
        if limit.is_floor:
            continue
        rows = np.flatnonzero(kept)
        row, use = limit.row[rows], limit.of_pairs(rows)
        order = np.lexsort((contest.lottery[rows], -margin[rows], row))
        fits = _running(row[order], use[order]) <= np.append(limit.most, np.inf)[row[order]]
        kept[rows[order[~fits]]] = False
    return kept


def improved(contest: Contest, chosen: BoolArray) -> BoolArray:
    """Return the plan after moves of single leads, until none gains."""
    plan = chosen.copy()
    for _ in range(MOST_ROUNDS):
        moves = _proposals(contest, plan)
        accepted = _accepted(contest, plan, moves) if len(moves.enters) else np.zeros(0, np.bool_)
        if not accepted.any():
            break
        leaves = moves.leaves[accepted]
        plan[moves.enters[accepted]] = True
        plan[leaves[leaves >= 0]] = False
    return plan


@dataclass(frozen=True)
class _Moves:
    """One move by lead: the pair that enters, the pair that leaves (-1: none), what it gains."""

    enters: IntArray
    leaves: IntArray
    gain: FloatArray

    def take(self, which: NDArray[np.generic]) -> "_Moves":
        return _Moves(self.enters[which], self.leaves[which], self.gain[which])


def _proposals(contest: Contest, plan: BoolArray) -> _Moves:
    """Return the best move of each lead that has one, by falling gain."""
    room = contest.room(plan)
    worth_in, worth_out = contest.worth.copy(), contest.worth.copy()
    may_enter = ~plan
    for limit, left in zip(contest.limits, room, strict=True):
        of_pair = np.append(left, np.inf)[limit.row]
        if limit.is_floor:
            worth_in += contest.penalty * (of_pair < 0)
            worth_out += contest.penalty * (of_pair <= 0)
        else:
            may_enter &= of_pair >= (1 if limit.use is None else limit.use)
    enters = np.flatnonzero(may_enter)
    leaves = _victims(contest, np.flatnonzero(plan), worth_out, enters)
    gain = worth_in[enters] - np.where(leaves >= 0, worth_out[leaves], 0)
    moves = _Moves(enters, leaves, gain).take(gain > 0)
    order = np.lexsort((contest.lottery[moves.enters], -moves.gain, contest.lead[moves.enters]))
    lead = contest.lead[moves.enters[order]]
    best = moves.take(order[np.diff(lead, prepend=-1) != 0])
    return best.take(np.lexsort((contest.lottery[best.enters], -best.gain)))


def _victims(contest: Contest, held: IntArray, worth: FloatArray, enters: IntArray) -> IntArray:
    """Return what each entering pair displaces: its lead's pair at the institution, else the
    lead's least pair where the lead has all it may; else -1.
    """
    if len(held) == 0:
        return np.full(len(enters), -1)
    by_group = held[np.argsort(contest.group[held])]
    at = np.searchsorted(contest.group[by_group], contest.group[enters]).clip(max=len(held) - 1)
    same = by_group[at]
    is_same = contest.group[same] == contest.group[enters]
    by_lead = held[np.lexsort((contest.lottery[held], worth[held], contest.lead[held]))]
    leads = contest.lead[by_lead]
    start = np.searchsorted(leads, contest.lead[enters])
    number = np.searchsorted(leads, contest.lead[enters], side="right") - start
    least = by_lead[start.clip(max=len(held) - 1)]
    return np.where(is_same, same, np.where(number >= contest.most_offers, least, -1))


def _accepted(contest: Contest, plan: BoolArray, moves: _Moves) -> BoolArray:
    """Return which moves fit together; `moves` by falling gain.

    Counted with care: what leaving pairs set free is given away in the next round only, and a
    floor is neither left nor filled beyond what it has.
    """
    fits = np.ones(len(moves.enters), np.bool_)
    rows = np.flatnonzero(plan)
    has_left = moves.leaves >= 0
    for limit in contest.limits:
        left: FloatArray = np.append(limit.most - limit.used(rows), np.inf)
        row, use = limit.row[moves.enters], limit.of_pairs(moves.enters)
        if limit.is_floor:
            out = limit.row[moves.leaves]
            is_out = has_left & (out != row) & (left[out] >= 0)
            fits &= ~is_out | _fit(
                np.where(is_out, out, len(limit.most)), is_out.astype(np.float64), left
            )
            is_in = left[row] < 0
            fits &= ~is_in | _fit(
                np.where(is_in, row, len(limit.most)), is_in.astype(np.float64), -left
            )
        else:
            fits &= _fit(row, use, left)
    return fits


def _fit(row: IntArray, use: FloatArray, left: FloatArray) -> BoolArray:
    """Return which of the uses, in the order given, fit into what is left of their row."""
    order = np.argsort(row, kind="stable")
    fits = np.zeros(len(row), np.bool_)
    fits[order] = _running(row[order], use[order]) <= left[row[order]]
    return np.asarray(fits | (use == 0), np.bool_)


def _running(row: IntArray, use: FloatArray) -> FloatArray:
    """Return the running sum of `use` within each row; `row` is sorted."""
    so_far = np.cumsum(use)
    first = np.searchsorted(row, row)
    return np.asarray(so_far - (so_far[first] - use[first]), np.float64)
