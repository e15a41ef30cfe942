"""The allocation, against OR-tools and HiGHS on the same pairs.

In `allocate` only quotas bind; `budgets` has budgets in money and pacing as well. Each peer runs in
a process of its own, so its memory is its own. The time is that of the solver only, after the
problem was handed over. HiGHS solves the linear relaxation: no plan has a greater value."""

from collections.abc import Callable
from typing import Any

import click
import numpy as np
from scipy.sparse import coo_array, vstack

from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import Limit
from pipelines.allocation.random_instance import (
    RandomInstance,
    add_guarantees,
    generate_instance,
    generate_next_day,
)
from pipelines.allocation.relaxation import SolverOptions
from pipelines.bench.shell import (
    Decorator,
    Figures,
    Stopwatch,
    count_option,
    peak_memory_mb,
    run_in_new_process,
    seed_option,
)
from pipelines.core.errors import IntegrityError, UsageError
from pipelines.core.settings import Settings

CHANGED = 0.05
"""Share of the leads that are replaced on the second day of `--warm`."""
UNITS = 10_000
"""Units of a unit of money, for the solver that needs whole numbers."""

Size = tuple[int, int, int, int, int]
"""Leads, products, candidates of a lead, seed, most offers of a lead."""
Solution = tuple[float, Figures]
"""Value of a peer's solution, and its times."""


def _instance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a random instance."""
    options: list[Decorator] = [
        count_option("--leads", 100_000, "Number of leads."),
        count_option("--products", 500, "Number of products."),
        count_option("--candidates", 20, "Candidate products of each lead."),
        seed_option,
        count_option("--offers", 3, "Most offers of one lead."),
        count_option("--parts", 1, "Parts into which the leads are divided."),
        click.option("--peers", is_flag=True, help="Solve the same instance by other solvers."),
        click.option(
            "--warm",
            is_flag=True,
            help="Solve a second day with 5% other leads, starting from the first day's prices.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("allocate")
@_instance_options
@click.pass_obj
def allocate_command(settings: Settings, /, **options: Any) -> Figures:
    """Measure the allocation where only quotas bind."""
    return measure(settings, has_limits=False, peers_of_case=("ortools", "highs_ipm"), **options)


@click.command("budgets")
@_instance_options
@click.option(
    "--guarantees",
    is_flag=True,
    help="Add ratio rows by product (approval rate, cost per loan and approval) and a fee floor.",
)
@click.pass_obj
def budgets_command(settings: Settings, /, **options: Any) -> Figures:
    """Measure the allocation with quotas, budgets and pacing."""
    return measure(settings, has_limits=True, peers_of_case=("highs_ipm",), **options)


def measure(
    settings: Settings, *, has_limits: bool, peers_of_case: tuple[str, ...], **options: Any
) -> Figures:
    """Return `value`, `bound`, `gap`, `seconds`, `processor_seconds`, `peak_mb`,
    `broken_constraints`, `evaluations`, the options, and with their options `peers` and `warm`.

    Raises:
        UsageError: A lead has more candidates than there are products.
    """
    if options["candidates"] > options["products"]:
        raise UsageError("--candidates is at most --products. Nothing was measured.")
    size: Size = tuple(
        options[name] for name in ("leads", "products", "candidates", "seed", "offers")
    )
    has_guarantees = options.get("guarantees", False)
    instance = _generate(size, has_guarantees=has_guarantees)
    solver = SolverOptions(parts=options["parts"], threads=settings.threads)
    plan, figures = _solve(instance, solver, has_limits=has_limits)
    not_figures = {"peers", "warm"} | (set() if has_guarantees else {"guarantees"})
    figures |= {name: value for name, value in options.items() if name not in not_figures}
    figures |= {"threads": settings.threads}
    if options["warm"]:
        figures["warm"] = _solve_second_day(instance, solver, plan, has_limits=has_limits)
    if options["peers"]:
        del instance, plan
        figures["peers"] = {
            peer: run_in_new_process(solve_by_peer, peer, size, has_limits, has_guarantees)
            for peer in peers_of_case
        }
    return figures


def _generate(size: Size, *, has_guarantees: bool) -> RandomInstance:
    instance = generate_instance(*size)
    return add_guarantees(instance, seed=size[3]) if has_guarantees else instance


def _limits(instance: RandomInstance, *, has_limits: bool) -> tuple[Limit, ...]:
    return instance.limits() if has_limits else ()


def _solve(
    instance: RandomInstance, solver: SolverOptions, start: Plan | None = None, *, has_limits: bool
) -> tuple[Plan, Figures]:
    limits = _limits(instance, has_limits=has_limits)
    stopwatch = Stopwatch()
    plan = allocate(
        instance.candidates,
        instance.quota,
        max_offers=instance.max_offers,
        limits=limits,
        start=start.prices if start else None,
        options=solver,
    )
    times = stopwatch.figures()
    figures: Figures = {}
    if instance.guarantees:
        figures["missed_fees"] = round(float(plan.shortfall["floor_fees"].sum()), 2)
        figures["price_of_fees"] = float(plan.prices["floor_fees"].sum())
    return plan, {
        "value": round(plan.value, 2),
        "bound": round(plan.bound, 2),
        "gap": plan.gap,
        **times,
        "peak_mb": peak_memory_mb(),
        "broken_constraints": instance.count_violations(plan, limits),
        "evaluations": plan.evaluations,
        **figures,
    }


def _solve_second_day(
    instance: RandomInstance, solver: SolverOptions, yesterday: Plan, *, has_limits: bool
) -> Figures:
    """Return the figures of a day with 5% other leads: from yesterday's prices, and cold."""
    today = generate_next_day(instance, CHANGED, seed=1)
    _, warm = _solve(today, solver, start=yesterday, has_limits=has_limits)
    _, cold = _solve(today, solver, has_limits=has_limits)
    share = warm["processor_seconds"] / max(cold["processor_seconds"], 1e-9)
    return {"changed": CHANGED, "warm": warm, "cold": cold, "share_of_cold": round(share, 3)}


def solve_by_peer(
    peer: str,
    size: Size,
    has_limits: bool,  # noqa: FBT001
    has_guarantees: bool,  # noqa: FBT001
) -> Figures:
    """Return the figures of another solver on the instance of that size.

    Raises:
        IntegrityError: The solver found no optimum.
    """
    instance = _generate(size, has_guarantees=has_guarantees)
    limits = _limits(instance, has_limits=has_limits)
    value, times = PEERS[peer](instance, limits)
    return {
        "value": round(value, 2),
        "bound": round(value, 2),
        "gap": 0.0,
        **times,
        "peak_mb": peak_memory_mb(),
        "broken_constraints": 0,
    }


def _solve_by_ortools(instance: RandomInstance, _: tuple[Limit, ...]) -> Solution:
    """Solve by `SimpleMinCostFlow`, which can express quotas only."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow  # noqa: PLC0415

    from pipelines.allocation.quota_flow import build_quota_network  # noqa: PLC0415

    value = np.rint(instance.candidates.value * UNITS).astype(np.int64)
    network = build_quota_network(instance.candidates, value, instance.quota, instance.max_offers)
    solver = SimpleMinCostFlow()
    solver.add_arcs_with_capacity_and_unit_cost(
        network.tails.astype(np.int32),
        network.heads.astype(np.int32),
        network.capacities,
        network.costs,
    )
    nodes = np.arange(len(network.supplies), dtype=np.int32)
    solver.set_nodes_supplies(nodes, network.supplies)
    stopwatch = Stopwatch()
    solver.solve()
    times = stopwatch.figures()
    return -solver.optimal_cost() / UNITS, times


def _solve_by_highs(instance: RandomInstance, limits: tuple[Limit, ...]) -> Solution:
    """Solve the linear relaxation by HiGHS's interior point method, without crossover."""
    import highspy  # noqa: PLC0415

    use, upper = _constraint_matrix(instance, limits)
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = use.shape
    program.col_cost_ = -instance.candidates.value
    program.col_lower_ = np.zeros(program.num_col_)
    program.col_upper_ = np.ones(program.num_col_)
    program.row_lower_ = np.full(program.num_row_, -highspy.kHighsInf)
    program.row_upper_ = np.where(np.isfinite(upper), upper, highspy.kHighsInf)
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = use.indptr
    program.a_matrix_.index_ = use.indices
    program.a_matrix_.value_ = use.data
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (("output_flag", False), ("solver", "ipm"), ("run_crossover", "off")):
        solver.setOptionValue(option, value)
    solver.passModel(program)
    stopwatch = Stopwatch()
    solver.run()
    times = stopwatch.figures()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise IntegrityError(f"HiGHS ended with {solver.getModelStatus()}; nothing was measured.")
    return -solver.getInfo().objective_function_value, times


PEERS = {"ortools": _solve_by_ortools, "highs_ipm": _solve_by_highs}


def _constraint_matrix(instance: RandomInstance, limits: tuple[Limit, ...]) -> tuple[Any, Any]:
    """Return the matrix of the constraints and their upper limits."""
    pairs = instance.candidates
    group = pairs.lead * (int(pairs.institution.max()) + 1) + pairs.institution
    _, at_institution, size = np.unique(group, return_inverse=True, return_counts=True)
    _, shared = np.unique(at_institution[size[at_institution] > 1], return_inverse=True)
    has_other = np.flatnonzero(size[at_institution] > 1)
    pair = np.arange(len(pairs.lead))
    max_offers = np.full(pairs.lead.max() + 1, instance.max_offers)
    rows = [
        (pairs.lead, pair, np.ones(pair.size), max_offers),
        (shared, has_other, np.ones(has_other.size), np.ones(int(shared.max(initial=-1)) + 1)),
        (pairs.product, pair, np.ones(pair.size), instance.quota),
    ]
    for limit in limits:
        units = np.broadcast_to(np.append(limit.units, 1.0)[:-1], len(limit.upper))
        use = limit.pair_use(pair) / np.append(units, 1.0)[limit.row]
        rows.append((limit.row, pair, use, limit.upper / units))
    inside = [(np.flatnonzero(row < len(b)), row, pair, u, b) for row, pair, u, b in rows]
    blocks = [
        coo_array((u[i], (r[i], c[i])), shape=(len(b), pair.size)) for i, r, c, u, b in inside
    ]
    return vstack(blocks).tocsc(), np.concatenate([b for *_, b in rows])
