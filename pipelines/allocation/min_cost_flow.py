"""Min-cost flow with integer data, potentials that certify it, and tie-breaking among optima.

    minimise    sum over arcs of cost x flow
    subject to  0 <= flow <= capacity;  flow out of a node - flow into it = supply

A flow is optimal exactly if its residual network has no cycle of negative cost, that is, if
shortest distances exist in it. The distances are the potentials (shadow prices) of the nodes; the
reduced cost of an arc, cost + distance(tail) - distance(head), is then never negative where flow
can be added and never positive where flow can be removed (Ahuja, Magnanti, Orlin: Network Flows,
theorems 9.1 and 9.3).
"""

from dataclasses import dataclass

import numpy as np
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow
from scipy.sparse import coo_array

from pipelines.core.arrays import IntArray
from pipelines.core.errors import IntegrityError

LARGEST_COST = 2**62
"""The solver multiplies costs by the number of nodes; the product must fit in 64 bits."""

UNREACHED = np.iinfo(np.int64).max // 4
"""A distance longer than any path, yet small enough that adding a cost doesn't overflow."""


@dataclass(frozen=True)
class Network:
    """Arcs as columns of equal length, and the supply of each node (below 0: demand)."""

    tails: IntArray
    heads: IntArray
    capacities: IntArray
    costs: IntArray
    supplies: IntArray


def solve_min_cost_flow(network: Network) -> IntArray:
    """Return the flow on each arc that meets all supplies at the least cost; exact.

    Raises:
        IntegrityError: The supplies can't be met, or the costs are too large for 64 bits.
    """
    solver = SimpleMinCostFlow()
    if len(network.tails) == 0:
        return np.zeros(0, np.int64)
    arcs = solver.add_arcs_with_capacity_and_unit_cost(
        network.tails.astype(np.int32),
        network.heads.astype(np.int32),
        network.capacities,
        network.costs,
    )
    solver.set_nodes_supplies(np.arange(len(network.supplies), dtype=np.int32), network.supplies)
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise IntegrityError(
            f"the flow solver ended with {status.name} on {len(network.supplies):,} nodes and "
            f"{len(network.tails):,} arcs instead of an optimal flow. Nothing was matched."
        )
    return np.asarray(solver.flows(arcs), dtype=np.int64)


def compute_residual_distances(network: Network, flows: IntArray, start: int) -> IntArray:
    """Return each node's shortest distance from `start` in the residual network (Bellman-Ford).

    Args:
        network: The network.
        flows: Flow on each arc, 0 <= flow <= capacity.
        start: Source node of the distances; `UNREACHED` for a node without a path.

    Raises:
        IntegrityError: There is a cycle of negative cost, so `flows` is not optimal.
    """
    can_add, can_remove = flows < network.capacities, flows > 0
    tails = np.concatenate([network.tails[can_add], network.heads[can_remove]])
    heads = np.concatenate([network.heads[can_add], network.tails[can_remove]])
    costs = np.concatenate([network.costs[can_add], -network.costs[can_remove]])
    order, ends = _sort_by_code(heads, len(network.supplies))
    tails, costs = tails[order], costs[order]
    reached = np.flatnonzero(np.diff(ends))
    first = ends[reached]
    distances = np.full(len(network.supplies), UNREACHED)
    distances[start] = 0
    for _ in range(len(network.supplies) + 1):
        through = np.minimum.reduceat(distances[tails] + costs, first)
        shorter = np.flatnonzero(through < np.minimum(distances[reached], UNREACHED // 2))
        if len(shorter) == 0:
            return distances
        distances[reached[shorter]] = through[shorter]
    raise IntegrityError(
        "the plan of matches is not optimal: its residual network has a cycle of negative cost. "
        "Nothing was matched."
    )


def _sort_by_code(code: IntArray, codes: int) -> tuple[IntArray, IntArray]:
    """Return the rows by rising code, and the first of each code (counting sort, linear time)."""
    rows = np.arange(len(code))
    counted = coo_array((np.ones(len(code), np.bool_), (code, rows)), (codes, len(code))).tocsr()
    return np.asarray(counted.indices, np.int64), np.asarray(counted.indptr, np.int64)


def compute_reduced_costs(network: Network, distances: IntArray) -> IntArray:
    """Return cost + distance(tail) - distance(head) of each arc."""
    return network.costs + distances[network.tails] - distances[network.heads]


def break_ties(
    network: Network, flows: IntArray, distances: IntArray, preference: IntArray
) -> IntArray:
    """Return, among all optimal flows, the one with the most `preference` (per unit of flow).

    By complementary slackness all optimal flows agree on the arcs whose reduced cost isn't 0,
    so the choice is among the other arcs alone. An arc that is the last one of its node has no
    alternative either, and so on: only arcs on cycles remain.
    """
    free = _keep_arcs_on_cycles(
        network, np.flatnonzero(compute_reduced_costs(network, distances) == 0)
    )
    if len(free) == 0:
        return flows
    is_fixed = flows > 0
    is_fixed[free] = False
    sent = np.bincount(network.tails[is_fixed], flows[is_fixed], len(network.supplies))
    sent -= np.bincount(network.heads[is_fixed], flows[is_fixed], len(network.supplies))
    ends = np.concatenate([network.tails[free], network.heads[free]])
    nodes, renumbered = np.unique(ends, return_inverse=True)
    tied = Network(
        tails=renumbered[: len(free)],
        heads=renumbered[len(free) :],
        capacities=network.capacities[free],
        costs=-preference[free],
        supplies=network.supplies[nodes] - sent[nodes].astype(np.int64),
    )
    preferred = flows.copy()
    preferred[free] = solve_min_cost_flow(tied)
    return preferred


def _keep_arcs_on_cycles(network: Network, arcs: IntArray) -> IntArray:
    """Return `arcs` without the arcs that end at a node with no other arc, repeatedly."""
    while True:
        tails, heads = network.tails[arcs], network.heads[arcs]
        degree = np.bincount(np.concatenate([tails, heads]), minlength=len(network.supplies))
        is_last = (degree[tails] == 1) | (degree[heads] == 1)
        if not is_last.any():
            return arcs
        arcs = arcs[~is_last]
