"""Other solvers on the instance of a benchmark: `python -m pipelines.bench.peers PEER CASE SIZE`.

Each runs in a process of its own, so that its memory is its own; the time is that of the solver
alone, after the problem was handed to it. HiGHS solves the linear program, in which a pair may be
chosen in part: its value is one that no plan in whole numbers exceeds.
"""

import json
import resource
import sys
import time
from typing import Any

import numpy as np
from scipy.sparse import coo_array, vstack

from pipelines.bench.fixtures.instance import Instance, drawn

KIB = 1024
Solved = tuple[float, float, float]
"""Value, seconds by the clock, processor seconds."""
UNITS = 10_000
"""Whole units of a unit of money, for the solver that wants whole numbers."""


def ortools(instance: Instance, case: str) -> Solved:
    """Return value, seconds and processor seconds of `SimpleMinCostFlow`; quotas alone."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow  # noqa: PLC0415

    from pipelines.allocation.quota_flow import build_quota_network  # noqa: PLC0415

    if case != "allocate":
        raise SystemExit("a flow holds quotas alone")
    worth = np.rint(instance.candidates.value * UNITS).astype(np.int64)
    network = build_quota_network(instance.candidates, worth, instance.quota, instance.most_offers)
    solver = SimpleMinCostFlow()
    solver.add_arcs_with_capacity_and_unit_cost(
        network.tails.astype(np.int32),
        network.heads.astype(np.int32),
        network.capacities,
        network.costs,
    )
    nodes = np.arange(len(network.supplies), dtype=np.int32)
    solver.set_nodes_supplies(nodes, network.supplies)
    began = time.perf_counter(), time.process_time()
    solver.solve()
    return -solver.optimal_cost() / UNITS, *_since(began)


def highs_ipm(instance: Instance, case: str) -> Solved:
    """Return the same of HiGHS's interior point method, without crossover."""
    import highspy  # noqa: PLC0415

    use, most = _rows(instance, case)
    program = highspy.HighsLp()
    program.num_row_, program.num_col_ = use.shape
    program.col_cost_ = -instance.candidates.value
    program.col_lower_ = np.zeros(program.num_col_)
    program.col_upper_ = np.ones(program.num_col_)
    program.row_lower_ = np.full(program.num_row_, -highspy.kHighsInf)
    program.row_upper_ = np.where(np.isfinite(most), most, highspy.kHighsInf)
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = use.indptr
    program.a_matrix_.index_ = use.indices
    program.a_matrix_.value_ = use.data
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (("output_flag", False), ("solver", "ipm"), ("run_crossover", "off")):
        solver.setOptionValue(option, value)
    solver.passModel(program)
    began = time.perf_counter(), time.process_time()
    solver.run()
    taken = _since(began)
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise SystemExit(f"HiGHS ended with {solver.getModelStatus()}")
    return -solver.getInfo().objective_function_value, *taken


def _since(began: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds by the clock and of the processor since then."""
    return time.perf_counter() - began[0], time.process_time() - began[1]


def _rows(instance: Instance, case: str) -> tuple[Any, Any]:
    """Return the matrix of the constraints and their right-hand side."""
    pairs = instance.candidates
    group = pairs.lead * (int(pairs.institution.max()) + 1) + pairs.institution
    _, at_institution, size = np.unique(group, return_inverse=True, return_counts=True)
    _, shared = np.unique(at_institution[size[at_institution] > 1], return_inverse=True)
    has_other = np.flatnonzero(size[at_institution] > 1)
    pair = np.arange(len(pairs.lead))
    rows = [
        (pairs.lead, pair, np.ones(pair.size), np.full(pairs.lead.max() + 1, instance.most_offers)),
        (shared, has_other, np.ones(has_other.size), np.ones(int(shared.max(initial=-1)) + 1)),
        (pairs.product, pair, np.ones(pair.size), instance.quota),
    ]
    for limit in instance.limits() if case == "budgets" else ():
        use = limit.pair_use(pair) / limit.units
        rows.append((limit.row, pair, use, limit.upper / limit.units))
    blocks = [coo_array((u, (r, c)), shape=(len(b), pair.size)) for r, c, u, b in rows]
    return vstack(blocks).tocsc(), np.concatenate([b for *_, b in rows])


def main() -> None:
    """Solve what the arguments say and print the figures as one JSON line."""
    peer, case, *size = sys.argv[1:]
    leads, products, candidates, seed, offers = map(int, size)
    instance = drawn(leads, products, candidates, seed, offers)
    value, seconds, processor = {"ortools": ortools, "highs_ipm": highs_ipm}[peer](instance, case)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1_000_000
    figures = {"value": round(value, 2), "bound": round(value, 2), "gap": 0.0}
    figures |= {"seconds": round(seconds, 2), "processor_seconds": round(processor, 2)}
    figures |= {"peak_mb": round(peak), "broken_constraints": 0}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
