"""Re-optimise a part of the plan exactly: the core problem of a day, or all of a very small day.

    maximise    sum of value x - sum of penalty s
    subject to  sum of use x - s <= upper,  0 <= x <= 1 integer,  s >= 0 (floors alone)

The prices leave few choices undecided: the pairs whose reduced cost is near 0. With all other
choices fixed they form an integer program of a second or two.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.sat.python import cp_model
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, hstack, vstack

from pipelines.allocation.moves import RestrictedProblem
from pipelines.allocation.problem import Limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.errors import IntegrityError

UNLIMITED = 1e18

LARGEST_OBJECTIVE = 2**58
"""The solver adds coefficients up in 64 bits."""


@dataclass(frozen=True)
class _Program:
    """The program over the free pairs and the shortfalls, its variables in this order."""

    objective: FloatArray
    use: csr_array
    row_upper: FloatArray
    variable_upper: FloatArray


def polish(
    problem: RestrictedProblem, plan: BoolArray, free: IntArray, *, effort: float
) -> BoolArray:
    """Return the best plan that agrees with `plan` on all pairs but `free`; never a worse one.

    The result is the same in any order of the pairs, since they are sorted by tie-break key, and on
    any machine, since the solver's effort is counted in operations and not in seconds.

    Args:
        problem: The pairs.
        plan: A feasible plan.
        free: The pairs to decide again.
        effort: Deterministic time of the solver, after which it returns its best plan so far.
    """
    free = free[np.argsort(problem.tie_break_key[free], kind="stable")]
    polished = plan.copy()
    polished[free] = False
    chosen = _run_cp_sat(_build_program(problem, free, polished, plan), plan[free], effort)
    polished[free] = chosen
    rows = np.flatnonzero(polished)
    is_feasible = all(limit.count_violations(rows) == 0 for limit in problem.limits)
    is_better = problem.compute_objective(polished) > problem.compute_objective(plan)
    return polished if is_feasible and is_better else plan


def _run_cp_sat(program: "_Program", hint: BoolArray, effort: float) -> BoolArray:
    """Return which pairs CP-SAT chooses; the hint if it finds no solution."""
    model = cp_model.CpModel()
    pairs = len(hint)
    variables = [model.new_bool_var("") for _ in range(pairs)]
    variables += [model.new_int_var(0, int(upper), "") for upper in program.variable_upper[pairs:]]
    for row, upper in enumerate(program.row_upper):
        entries = slice(program.use.indptr[row], program.use.indptr[row + 1])
        use = program.use.data[entries].astype(np.int64).tolist()
        inside = [variables[column] for column in program.use.indices[entries]]
        if inside and upper < UNLIMITED and not sum(max(each, 0) for each in use) <= upper:
            model.add(cp_model.LinearExpr.weighted_sum(inside, use) <= int(upper))
    for variable, is_chosen in zip(variables[:pairs], hint.tolist(), strict=True):
        model.add_hint(variable, is_chosen)
    total = float(np.abs(program.objective * program.variable_upper).sum())
    scale = 2.0 ** min(20, np.floor(np.log2(LARGEST_OBJECTIVE / max(1.0, total))))
    objective = np.rint(program.objective * scale).astype(np.int64)
    model.maximize(cp_model.LinearExpr.weighted_sum(variables, objective.tolist()))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.linearization_level = 2
    solver.parameters.max_deterministic_time = effort
    if solver.solve(model) not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return hint
    return np.array([solver.boolean_value(each) for each in variables[:pairs]], np.bool_)


@dataclass(frozen=True)
class LinearSolution:
    """An optimum of the linear relaxation."""

    prices: list[FloatArray]
    """The dual prices, by limit."""
    share: FloatArray
    """How much of each pair is taken: 0 to 1."""


def solve_linear_relaxation(problem: RestrictedProblem) -> LinearSolution | None:
    """Return an optimum of the linear relaxation by the simplex method; None if it isn't solved."""
    every_pair = np.argsort(problem.tie_break_key, kind="stable")
    program = _build_program(problem, every_pair, np.zeros(len(every_pair), np.bool_))
    result = _solve_lp(program)
    if result.status != 0:
        return None
    prices = np.maximum(-result.ineqlin.marginals, 0)
    sizes = np.cumsum([len(limit.upper) for limit in problem.limits])
    share = np.empty(len(every_pair))
    share[every_pair] = result.x[: len(every_pair)]
    return LinearSolution(np.split(prices[: sizes[-1]], sizes[:-1]), share)


def compute_lp_value(problem: RestrictedProblem, free: IntArray, fixed: BoolArray) -> float:
    """Return the value of the linear relaxation over `free`, with the pairs `fixed` in the plan.

    Raises:
        IntegrityError: The program isn't solved.
    """
    result = _solve_lp(_build_program(problem, free, fixed))
    if result.status != 0:
        raise IntegrityError(f"the linear program of a price ended with: {result.message}")
    return float(problem.value[fixed].sum() - result.fun)


def _solve_lp(program: _Program) -> Any:
    return linprog(
        -program.objective,
        A_ub=program.use,
        b_ub=program.row_upper,
        bounds=np.column_stack([np.zeros(len(program.variable_upper)), program.variable_upper]),
        method="highs-ds",
    )


def _build_program(
    problem: RestrictedProblem, free: IntArray, fixed: BoolArray, plan: BoolArray | None = None
) -> _Program:
    """Return the program over the pairs `free`, with the pairs `fixed` in the plan.

    With `plan`, a floor in money may not be missed by more than that plan misses it.
    """
    rows = np.flatnonzero(fixed)
    blocks, row_upper = [], []
    for limit, slack in zip(problem.limits, problem.compute_slack(fixed), strict=True):
        blocks.append(_build_matrix(limit.row[free], limit.pair_use(free), len(limit.upper)))
        row_upper.append(np.where(np.isfinite(slack), slack, UNLIMITED))
    for code, upper in ((problem.lead, problem.max_offers), (problem.group, 1)):
        row, codes = renumber_by_appearance(code[free])
        used = np.bincount(
            np.searchsorted(np.sort(codes), code[rows][np.isin(code[rows], codes)]),
            minlength=len(codes),
        )[np.argsort(np.argsort(codes))]
        blocks.append(_build_matrix(row, np.ones(len(free)), len(codes)))
        row_upper.append(upper - used.astype(np.float64))
    use = vstack(blocks).tocsr()
    shortfall = _build_shortfall_columns(problem.limits, use.shape[0])
    penalties = [
        np.full(len(limit.upper), penalty)
        for limit, penalty in zip(problem.limits, problem.penalties, strict=True)
        if limit.is_floor
    ]
    max_shortfall = np.maximum(-np.concatenate(row_upper)[shortfall.coords[0]], 0)
    if plan is not None:
        chosen = np.flatnonzero(plan)
        missed = [
            limit.shortfall(chosen) if limit.is_money_floor else np.full(len(limit.upper), np.inf)
            for limit in problem.limits
            if limit.is_floor
        ]
        max_shortfall = np.minimum(max_shortfall, np.concatenate([np.zeros(0), *missed]))
    return _Program(
        objective=np.concatenate([problem.value[free], *(-each for each in penalties)]),
        use=hstack([use, shortfall]).tocsr(),
        row_upper=np.concatenate(row_upper),
        variable_upper=np.concatenate([np.ones(len(free)), max_shortfall]),
    )


def _build_matrix(row: IntArray, use: FloatArray, rows: int) -> coo_array:
    inside = np.flatnonzero(row < rows)
    return coo_array((use[inside], (row[inside], inside)), shape=(rows, len(row)))


def _build_shortfall_columns(limits: tuple[Limit, ...], rows: int) -> coo_array:
    """Return a column with -1 for each row of a floor: its shortfall."""
    start = np.cumsum([0, *(len(limit.upper) for limit in limits)])
    floors = [
        np.arange(len(limit.upper)) + first
        for limit, first in zip(limits, start[:-1], strict=True)
        if limit.is_floor
    ]
    row = np.concatenate([np.zeros(0, np.int64), *floors])
    return coo_array((-np.ones(len(row)), (row, np.arange(len(row)))), shape=(rows, len(row)))


def renumber_by_appearance(code: IntArray) -> tuple[IntArray, IntArray]:
    """Return codes renumbered 0, 1 … by first appearance, and the old code of each."""
    codes, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    renumbered = np.empty_like(order)
    renumbered[order] = np.arange(len(order))
    return renumbered[inverse], codes[order]
