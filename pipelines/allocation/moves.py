"""Moves of a plan: pairs that enter and pairs that leave, their gains, and which fit together.

A move changes the plan of one lead (a pair enters, perhaps in place of another) or of two (see
`exchanges`). It consumes capacity of a row by a positive use that enters and by a negative use that
leaves. Uses in one row are added up before they are compared with its remaining capacity.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.allocation.problem import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class RestrictedProblem:
    """The pairs that may enter the plan, as columns of equal length."""

    lead: IntArray
    group: IntArray
    """Code of lead and institution."""
    value: FloatArray
    surplus: FloatArray
    """Value less the price of the use of each row."""
    reduced_cost: FloatArray
    """Distance of each pair from the threshold of its lead's choice; above 0: chosen."""
    tie_break_key: IntArray
    limits: tuple[Limit, ...]
    """The quotas come first."""
    max_offers: int
    penalties: tuple[float, ...]
    """Value of one integer unit less in the shortfall of a floor, by limit; 0 for other limits."""
    money_prices: tuple[float, ...]
    """Value that a move may give up for one integer unit of money of a floor, by limit."""

    def take(self, rows: IntArray) -> "RestrictedProblem":
        """Return the given pairs, in that order."""
        return replace(
            self,
            lead=self.lead[rows],
            group=self.group[rows],
            value=self.value[rows],
            surplus=self.surplus[rows],
            reduced_cost=self.reduced_cost[rows],
            tie_break_key=self.tie_break_key[rows],
            limits=tuple(limit.take(rows) for limit in self.limits),
        )

    def at_prices(
        self, prices: Sequence[FloatArray], reduced_cost: FloatArray
    ) -> "RestrictedProblem":
        """Return the problem with the surplus at `prices` (one array by limit)."""
        surplus = self.value.copy()
        for limit, price in zip(self.limits, prices, strict=True):
            pair_price = np.append(price, 0.0)[limit.row]
            surplus -= pair_price if limit.use is None else pair_price * limit.use
        money_prices = tuple(
            float(price[0]) if limit.is_money_floor else 0.0
            for limit, price in zip(self.limits, prices, strict=True)
        )
        return replace(self, surplus=surplus, reduced_cost=reduced_cost, money_prices=money_prices)

    def scale_money_prices(self, factor: float) -> "RestrictedProblem":
        """Return the problem with other prices of money, at most the penalty of its shortfall.

        With a factor above 1 they are at least a 1,000th of the penalty.
        """
        least = 1e-3 if factor > 1 else 0.0
        prices = tuple(
            min(factor * max(price, least * penalty), max(price, penalty))
            if limit.is_money_floor
            else 0.0
            for limit, price, penalty in zip(
                self.limits, self.money_prices, self.penalties, strict=True
            )
        )
        return replace(self, money_prices=prices)

    def misses_money(self, chosen: BoolArray) -> bool:
        """Return whether a floor in money is missed."""
        rows = np.flatnonzero(chosen)
        return any(limit.is_money_floor and not limit.is_satisfied(rows) for limit in self.limits)

    def restrict(self, rows: IntArray, chosen: BoolArray) -> "RestrictedProblem":
        """Return the problem of the given pairs, with all other pairs as in the plan."""
        rest = chosen.copy()
        rest[rows] = False
        problem = self.take(rows)
        slacks = self.compute_slack(rest)
        limits = [
            replace(limit, upper=slack) for limit, slack in zip(problem.limits, slacks, strict=True)
        ]
        return replace(problem, limits=tuple(limits))

    def compute_slack(self, chosen: BoolArray) -> list[FloatArray]:
        """Return the remaining capacity of each row; below 0 where it is violated."""
        rows = np.flatnonzero(chosen)
        return [limit.upper - limit.total_use(rows) for limit in self.limits]

    def compute_padded_slack(self, chosen: BoolArray) -> list[FloatArray]:
        """Return the remaining capacity of each row, with one more for pairs in no row."""
        return [np.append(slack, np.inf) for slack in self.compute_slack(chosen)]

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


@dataclass(frozen=True)
class Moves:
    """Moves of one kind, in the order in which they are accepted."""

    pairs: IntArray
    """(moves, pairs of a move); -1: none."""
    signs: tuple[int, ...]
    """1 for each column of pairs that enter, -1 for each column of pairs that leave."""
    gain: FloatArray

    def take(self, rows: NDArray[np.generic]) -> "Moves":
        """Return the given moves, in that order."""
        return replace(self, pairs=self.pairs[rows], gain=self.gain[rows])

    def add_up(self, amount: FloatArray) -> FloatArray:
        """Return the change of the sum of `amount`, by pair, over the plan."""
        total = np.zeros(len(self.pairs))
        for column, sign in zip(self.pairs.T, self.signs, strict=True):
            total += np.where(column >= 0, sign * amount[column], 0)
        return total

    def apply(self, plan: BoolArray) -> None:
        """Make the moves."""
        for column, sign in zip(self.pairs.T, self.signs, strict=True):
            plan[column[column >= 0]] = sign > 0


def measure_changes(limit: Limit, moves: Moves) -> tuple[IntArray, FloatArray]:
    """Return the rows that each move touches, and the change of their use.

    One column by pair of a move; where several pairs lie in one row, the first has the sum.
    """
    rows = [np.where(pair >= 0, limit.row[pair], len(limit.upper)) for pair in moves.pairs.T]
    changes = [
        np.where(pair >= 0, sign * limit.pair_use(pair), 0.0)
        for pair, sign in zip(moves.pairs.T, moves.signs, strict=True)
    ]
    for later in range(1, len(rows)):
        for earlier in range(later):
            moved = np.where(rows[later] == rows[earlier], changes[later], 0)
            changes[earlier] += moved
            changes[later] -= moved
    return np.column_stack(rows), np.column_stack(changes)


def select_gains(problem: RestrictedProblem, slacks: Sequence[FloatArray], moves: Moves) -> Moves:
    """Return the moves that gain and fit by themselves, with their gains.

        gain = value in - value out + penalty for each lead that a floor misses less
             + price of money x money in - money out

    A floor in money is a sum over the whole plan: `accept_moves` holds it over all moves together.

    Args:
        problem: The pairs.
        slacks: Remaining capacity of each row by limit, with one more for pairs in no row.
        moves: The moves.
    """
    gain = moves.add_up(problem.value)
    for limit, price in zip(problem.limits, problem.money_prices, strict=True):
        if price:
            gain -= price * measure_changes(limit, moves)[1].sum(axis=1)
    has_lead_floor = any(limit.is_floor and not limit.is_money_floor for limit in problem.limits)
    if not has_lead_floor:
        moves, gain = moves.take(gain > 0), gain[gain > 0]
    for limit, slack, penalty in zip(problem.limits, slacks, problem.penalties, strict=True):
        if limit.is_money_floor:
            continue
        row, change = measure_changes(limit, moves)
        if limit.is_floor:
            gain += penalty * reduce_shortfall(slack[row], change).sum(axis=1)
        else:
            fits = np.flatnonzero((change <= np.maximum(slack[row], 0)).all(axis=1))
            moves, gain = moves.take(fits), gain[fits]
    return replace(moves, gain=gain).take(gain > 0)


def reduce_shortfall(slack: FloatArray, use: FloatArray) -> FloatArray:
    """Return the units of shortfall that a use removes from a row with that slack."""
    return np.asarray(np.minimum(slack - use, 0) - np.minimum(slack, 0), np.float64)


def accept_moves(problem: RestrictedProblem, slacks: Sequence[FloatArray], moves: Moves) -> Moves:
    """Return moves that fit together, of different leads; the first ones have priority.

    Conservative: capacity that moves release is used in the next round only, and in one round a
    floor in leads is neither left short nor filled by two moves beyond its shortfall. Moves may
    spend the money of a floor that other accepted moves bring; it is never missed by more.
    """
    moves = moves.take(_find_first_of_lead(problem, moves))
    fits = np.ones(len(moves.gain), np.bool_)
    for limit, slack in zip(problem.limits, slacks, strict=True):
        if limit.is_money_floor:
            continue
        row, change = measure_changes(limit, moves)
        width = len(moves.signs)
        row, change = row.reshape(-1), change.reshape(-1)
        if limit.is_floor:
            is_short = slack[row] < 0
            fills = np.where(is_short, np.maximum(-change, 0), 0)
            fills_fit = _fit_into_slack(row, fills, -slack, is_first_exempt=True)
            fits &= fills_fit.reshape(-1, width).all(axis=1)
            change = np.where(is_short, 0, change)
        is_within = _fit_into_slack(row, np.maximum(change, 0), slack)
        fits &= is_within.reshape(-1, width).all(axis=1)
    return _hold_money_floors(problem, slacks, moves.take(fits))


def _hold_money_floors(
    problem: RestrictedProblem, slacks: Sequence[FloatArray], moves: Moves
) -> Moves:
    """Return the moves without the last ones that spend too much money."""
    has_dropped = True
    while has_dropped:
        has_dropped = False
        for limit, slack in zip(problem.limits, slacks, strict=True):
            if limit.is_money_floor:
                spent = measure_changes(limit, moves)[1].sum(axis=1)
                available = float(slack[0] - spent[spent < 0].sum())
                is_affordable = np.cumsum(np.maximum(spent, 0)) <= available
                fits = np.asarray((spent <= 0) | is_affordable, np.bool_)
                moves = moves.take(fits)
                has_dropped |= not fits.all()
    return moves


def _find_first_of_lead(problem: RestrictedProblem, moves: Moves) -> BoolArray:
    """Return the moves that are the first of all leads that they change."""
    number = np.arange(len(moves.pairs))
    is_pair = moves.pairs >= 0
    move = np.broadcast_to(number[:, None], is_pair.shape)[is_pair]
    lead = problem.lead[moves.pairs[is_pair]]
    _, first, inverse = np.unique(lead, return_index=True, return_inverse=True)
    is_first = np.ones(len(number), np.bool_)
    is_first[move[move[first[inverse]] != move]] = False
    return is_first


def _fit_into_slack(
    row: IntArray, use: FloatArray, slack: FloatArray, *, is_first_exempt: bool = False
) -> BoolArray:
    """Return which uses, in the order given, fit into the slack of their row; a use of 0 does.

    With `is_first_exempt`, the first of each row may exceed it.
    """
    fits = np.ones(len(row), np.bool_)
    used = np.flatnonzero(use)
    order = used[np.argsort(row[used], kind="stable")]
    fits[order] = sum_within_row(row[order], use[order]) <= slack[row[order]]
    if is_first_exempt:
        fits[order] |= np.diff(row[order], prepend=-1) != 0
    return fits


def sum_within_row(row: IntArray, use: FloatArray) -> FloatArray:
    """Return the running sum of `use` within each row; `row` is sorted."""
    so_far = np.cumsum(use)
    first = np.searchsorted(row, row)
    return np.asarray(so_far - (so_far[first] - use[first]), np.float64)


def find_displaced(
    problem: RestrictedProblem, planned: IntArray, cost: FloatArray, enters: IntArray
) -> tuple[IntArray, BoolArray]:
    """Return the pair that each entering pair displaces (-1: none), and whether it has to.

    It is the lead's pair at the same institution, which has to leave, else the lead's pair of least
    cost if the lead has its most offers.
    """
    if len(planned) == 0:
        return np.full(len(enters), -1), np.zeros(len(enters), np.bool_)
    by_group = planned[np.argsort(problem.group[planned])]
    at = np.searchsorted(problem.group[by_group], problem.group[enters]).clip(max=len(planned) - 1)
    same = by_group[at]
    is_same = problem.group[same] == problem.group[enters]
    by_lead = planned[
        np.lexsort((problem.tie_break_key[planned], cost[planned], problem.lead[planned]))
    ]
    entering = problem.lead[enters]
    offers = np.bincount(problem.lead[planned], minlength=entering.max(initial=-1) + 1)
    first = np.cumsum(offers) - offers
    number, least = offers[entering], by_lead[first[entering].clip(max=len(planned) - 1)]
    displaced = np.where(is_same, same, np.where(number >= problem.max_offers, least, -1))
    return displaced, np.asarray(is_same, np.bool_)
