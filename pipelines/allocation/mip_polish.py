"""A small problem solved as a whole: the contested pairs of a day, or all of a very small day.

Whatever the prices leave undecided is little: pairs whose choice is near to turning. With all
other choices held fast, those alone are an integer program that takes a second or two.
"""

from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, hstack, vstack

from pipelines.allocation.constraints import Limit
from pipelines.allocation.primal_repair import Contest
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

UNLIMITED = 1e18

LARGEST_GAIN = 2**58
"""The solver adds gains up in 64 bits."""


@dataclass(frozen=True)
class _Program:
    """maximise worth x - penalty s, such that use x - s <= most, 0 <= x <= 1, s >= 0."""

    gain: FloatArray
    use: csr_array
    most: FloatArray
    highest: FloatArray


def reoptimised(contest: Contest, plan: BoolArray, free: IntArray, *, effort: float) -> BoolArray:
    """Return the best plan that agrees with `plan` on all pairs but `free`; never a worse one.

    The same whatever the order of the pairs, since they are sorted by lottery number first, and
    whatever the machine, since the solver's effort is counted and not timed.

    Args:
        contest: The pairs.
        plan: A plan that keeps the constraints.
        free: The pairs to decide anew.
        effort: Work after which the best plan so far is taken, in the solver's deterministic time.
    """
    free = free[np.argsort(contest.lottery[free], kind="stable")]
    held = plan.copy()
    held[free] = False
    taken = _solved(_program(contest, free, held), plan[free], effort)
    held[free] = taken
    is_kept = all(limit.broken(np.flatnonzero(held)) == 0 for limit in contest.limits)
    return held if is_kept and contest.worth_of(held) > contest.worth_of(plan) else plan


def _solved(program: "_Program", hint: BoolArray, effort: float) -> BoolArray:
    """Return which pairs CP-SAT chooses; the hint where it finds nothing."""
    model = cp_model.CpModel()
    pairs = len(hint)
    takes = [model.new_bool_var("") for _ in range(pairs)]
    takes += [model.new_int_var(0, int(most), "") for most in program.highest[pairs:]]
    for row, most in enumerate(program.most):
        at = slice(program.use.indptr[row], program.use.indptr[row + 1])
        use = program.use.data[at].astype(np.int64).tolist()
        inside = [takes[column] for column in program.use.indices[at]]
        if inside and most < UNLIMITED and not sum(max(each, 0) for each in use) <= most:
            model.add(cp_model.LinearExpr.weighted_sum(inside, use) <= int(most))
    for take, is_taken in zip(takes[:pairs], hint.tolist(), strict=True):
        model.add_hint(take, is_taken)
    finest = LARGEST_GAIN / max(1.0, float(np.abs(program.gain * program.highest).sum()))
    gains = np.rint(program.gain * 2.0 ** min(20, np.floor(np.log2(finest)))).astype(np.int64)
    model.maximize(cp_model.LinearExpr.weighted_sum(takes, gains.tolist()))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = effort
    if solver.solve(model) not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return hint
    return np.array([solver.boolean_value(take) for take in takes[:pairs]], np.bool_)


def exact_prices(contest: Contest) -> list[FloatArray] | None:
    """Return the prices of the limits at which the bound is lowest, from the linear program."""
    everything = np.argsort(contest.lottery, kind="stable")
    program = _program(contest, everything, np.zeros(len(everything), np.bool_))
    found = linprog(
        -program.gain,
        A_ub=program.use,
        b_ub=program.most,
        bounds=np.column_stack([np.zeros(len(program.highest)), program.highest]),
        method="highs-ds",
    )
    if found.status != 0:
        return None
    prices = np.maximum(-found.ineqlin.marginals, 0)
    sizes = np.cumsum([len(limit.most) for limit in contest.limits])
    return np.split(prices[: sizes[-1]], sizes[:-1])


def _program(contest: Contest, free: IntArray, held: BoolArray) -> _Program:
    """Return the program over the pairs `free`, with `held` in the plan already."""
    rows = np.flatnonzero(held)
    blocks, most = [], []
    for limit, left in zip(contest.limits, contest.room(held), strict=True):
        blocks.append(_matrix(limit.row[free], limit.of_pairs(free), len(limit.most)))
        most.append(np.where(np.isfinite(left), left, UNLIMITED))
    for code, each in ((contest.lead, contest.most_offers), (contest.group, 1)):
        row, names = _by_appearance(code[free])
        taken = np.bincount(
            np.searchsorted(np.sort(names), code[rows][np.isin(code[rows], names)]),
            minlength=len(names),
        )[np.argsort(np.argsort(names))]
        blocks.append(_matrix(row, np.ones(len(free)), len(names)))
        most.append(each - taken.astype(np.float64))
    use = vstack(blocks).tocsr()
    missed = _shortfalls(contest.limits, use.shape[0])
    limit_of_shortfall = np.maximum(-np.concatenate(most)[missed.coords[0]], 0)
    return _Program(
        gain=np.concatenate([contest.worth[free], np.full(missed.shape[1], -contest.penalty)]),
        use=hstack([use, missed]).tocsr(),
        most=np.concatenate(most),
        highest=np.concatenate([np.ones(len(free)), limit_of_shortfall]),
    )


def _matrix(row: IntArray, use: FloatArray, rows: int) -> coo_array:
    inside = np.flatnonzero(row < rows)
    return coo_array((use[inside], (row[inside], inside)), shape=(rows, len(row)))


def _shortfalls(limits: tuple[Limit, ...], rows: int) -> coo_array:
    """Return a column with -1 for each row of a floor: what it is missed by."""
    start = np.cumsum([0, *(len(limit.most) for limit in limits)])
    floors = [
        np.arange(len(limit.most)) + first
        for limit, first in zip(limits, start[:-1], strict=True)
        if limit.is_floor
    ]
    row = np.concatenate([np.zeros(0, np.int64), *floors])
    return coo_array((-np.ones(len(row)), (row, np.arange(len(row)))), shape=(rows, len(row)))


def _by_appearance(code: IntArray) -> tuple[IntArray, IntArray]:
    """Return codes renumbered 0, 1 … as they first appear, and the old code of each."""
    names, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    renumbered = np.empty_like(order)
    renumbered[order] = np.arange(len(order))
    return renumbered[inverse], names[order]
