"""Exchanges between two leads: one takes the place of a product that another frees.

    lead b:  a pair of product j enters, perhaps in place of one of the lead's pairs
    lead a:  its pair of product j leaves; the lead's best pair that fits takes its place, if any

Where a product takes a handful of leads, its capacity in money or by channel is filled by choosing
other leads, and rarely by one more. Each product compares its `WIDTH` best pairs outside of the
plan, by surplus, with the `WIDTH` pairs of the plan that it gives away at the least surplus.
"""

import numpy as np

from pipelines.allocation.moves import (
    Moves,
    RestrictedProblem,
    find_displaced,
    select_gains,
)
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

WIDTH = 24
"""Pairs of a product that may enter, and that may leave, in one round."""
RANK_BINS = 512
"""Bins of ranks in which the first pairs of a product are found."""


def propose_exchanges(
    problem: RestrictedProblem, plan: BoolArray, slacks: list[FloatArray]
) -> Moves:
    """Return the exchanges that gain, by falling gain."""
    planned, others = np.flatnonzero(plan), np.flatnonzero(~plan)
    product = problem.limits[0].row
    substitute = _find_substitutes(problem, plan, slacks)
    displaced, _ = find_displaced(problem, planned, problem.surplus, others)
    loss = problem.surplus[planned] - np.where(
        substitute >= 0, np.maximum(problem.surplus[substitute], 0), 0
    )
    profit = problem.surplus[others] - np.where(displaced >= 0, problem.surplus[displaced], 0)
    key = problem.tie_break_key
    leaving = take_first_by_code(product[planned], loss, key[planned], WIDTH)
    entering = take_first_by_code(product[others], -profit, key[others], WIDTH)
    left, right = _join(product[others[entering]], product[planned[leaving]])
    entering, leaving = entering[left], leaving[right]
    pairs = np.column_stack(
        [others[entering], displaced[entering], planned[leaving], substitute[leaving]]
    )
    pairs = pairs[problem.lead[pairs[:, 0]] != problem.lead[pairs[:, 2]]]
    moves = Moves(pairs, (1, -1, -1, 1), np.zeros(len(pairs)))
    moves = select_gains(problem, slacks, moves)
    order = np.lexsort((key[moves.pairs[:, 2]], key[moves.pairs[:, 0]], -moves.gain))
    return moves.take(order)


def _find_substitutes(
    problem: RestrictedProblem, plan: BoolArray, slacks: list[FloatArray]
) -> IntArray:
    """Return the pair of most value that can take the place of each pair of the plan; -1: none.

    It fits into the remaining capacity as it is, and its institution has no other pair of the lead.
    """
    can_enter = ~plan
    for limit, slack in zip(problem.limits, slacks, strict=True):
        use = 1 if limit.use is None else limit.use
        if not limit.is_floor:
            can_enter &= (use <= slack[limit.row]) | (use <= 0)
    planned, enters = np.flatnonzero(plan), np.flatnonzero(can_enter)
    displaced, is_same = find_displaced(problem, planned, problem.value, enters)
    substitute = _find_best(problem, enters[is_same], problem.group, planned)
    is_any = (displaced >= 0) & ~is_same
    of_lead = _find_best(problem, enters[is_any], problem.lead, planned)
    is_better = (of_lead >= 0) & (
        (substitute < 0) | (problem.value[of_lead] > problem.value[substitute])
    )
    return np.where(is_better, of_lead, substitute)


def _find_best(
    problem: RestrictedProblem, pairs: IntArray, code: IntArray, planned: IntArray
) -> IntArray:
    """Return the pair of most value, among `pairs`, with the code of each pair of the plan."""
    order = pairs[np.lexsort((problem.tie_break_key[pairs], -problem.value[pairs], code[pairs]))]
    if len(order) == 0:
        return np.full(len(planned), -1)
    at = np.searchsorted(code[order], code[planned]).clip(max=len(order) - 1)
    return np.where(code[order[at]] == code[planned], order[at], -1)


def take_first_by_code(code: IntArray, rank: FloatArray, key: IntArray, width: int) -> IntArray:
    """Return the positions of the `width` pairs of smallest rank of each code, by code."""
    near = _drop_far(code, rank, width)
    order = near[np.lexsort((key[near], rank[near], code[near]))]
    number = np.arange(len(order)) - np.searchsorted(code[order], code[order])
    return order[number < width]


def _drop_far(code: IntArray, rank: FloatArray, width: int) -> IntArray:
    """Return the positions of the pairs that may be among the first `width` of their code.

    Ranks are counted in bins: sorting all of 3,000,000 pairs takes seven times as long.
    """
    sample = np.sort(rank[:: 1 + len(rank) // (RANK_BINS * RANK_BINS)])
    edges = sample[:: 1 + len(sample) // RANK_BINS]
    bins = len(edges) + 1
    bin_ = np.searchsorted(edges, rank)
    counts = np.bincount(code * bins + bin_, minlength=bins)
    so_far = np.cumsum(np.pad(counts, (0, -len(counts) % bins)).reshape(-1, bins), axis=1)
    last = np.where(so_far[:, -1] < width, bins, (so_far >= width).argmax(axis=1))
    return np.flatnonzero(bin_ <= last[code])


def _join(left: IntArray, right: IntArray) -> tuple[IntArray, IntArray]:
    """Return the positions of all combinations of equal codes; both are sorted."""
    begin = np.searchsorted(right, left)
    number = np.searchsorted(right, left, side="right") - begin
    of_left = np.repeat(np.arange(len(left)), number)
    within = np.arange(len(of_left)) - np.repeat(np.cumsum(number) - number, number)
    return of_left, begin[of_left] + within
