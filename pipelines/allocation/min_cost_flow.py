"""Cheapest flows in a network, and the prices that prove them cheapest.

A flow is cheapest exactly when its residual network has no cycle of negative cost, that is when
shortest distances exist in it. Those distances are the prices (potentials) of the nodes; an arc's
reduced cost, cost + price(tail) - price(head), is then never negative where flow could still be
added and never positive where some could be taken away (Ahuja, Magnanti, Orlin: Network Flows,
theorems 9.1 and 9.3).
"""

from dataclasses import dataclass

import numpy as np
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow
from scipy.sparse import coo_array

from pipelines.core.arrays import IntArray
from pipelines.core.errors import Broken

LARGEST_COST = 2**62
"""The solver multiplies costs by the number of nodes; the product must fit in 64 bits."""

UNREACHED = np.iinfo(np.int64).max // 4
"""A distance longer than any path, yet small enough that adding a cost doesn't overflow."""


@dataclass(frozen=True)
class Network:
    """Arcs as columns, each of the same length, and what every node sends out (below 0: takes)."""

    tails: IntArray
    heads: IntArray
    capacities: IntArray
    costs: IntArray
    supplies: IntArray


def cheapest_flow(network: Network) -> IntArray:
    """Return the flow on each arc that serves all supplies at the least cost; exact.

    Raises:
        Broken: The supplies can't be served, or the costs are too large for 64 bits.
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
        raise Broken(
            f"the flow solver ended with {status.name} on {len(network.supplies):,} nodes and "
            f"{len(network.tails):,} arcs instead of an optimal flow. Nothing was matched."
        )
    return np.asarray(solver.flows(arcs), dtype=np.int64)


def residual_distances(network: Network, flows: IntArray, start: int) -> IntArray:
    """Return each node's shortest distance from `start` in the residual network (Bellman-Ford).

    Args:
        network: Where the flow runs.
        flows: Flow on each arc, 0 <= flow <= capacity.
        start: The node from which distances are counted; `UNREACHED` where no path leads.

    Raises:
        Broken: There is a cycle of negative cost, so `flows` is not the cheapest flow.
    """
    ahead, back = flows < network.capacities, flows > 0
    tails = np.concatenate([network.tails[ahead], network.heads[back]])
    heads = np.concatenate([network.heads[ahead], network.tails[back]])
    costs = np.concatenate([network.costs[ahead], -network.costs[back]])
    order, ends = _by_code(heads, len(network.supplies))
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
    raise Broken(
        "the plan of matches is not the best one: its residual network has a cycle of negative "
        "cost. Nothing was matched."
    )


def _by_code(code: IntArray, codes: int) -> tuple[IntArray, IntArray]:
    """Return the rows by rising code, and where each code begins; counted, in linear time."""
    rows = np.arange(len(code))
    counted = coo_array((np.ones(len(code), np.bool_), (code, rows)), (codes, len(code))).tocsr()
    return np.asarray(counted.indices, np.int64), np.asarray(counted.indptr, np.int64)


def reduced_costs(network: Network, distances: IntArray) -> IntArray:
    """Return cost + distance(tail) - distance(head) of each arc."""
    return network.costs + distances[network.tails] - distances[network.heads]


def settle_ties(
    network: Network, flows: IntArray, distances: IntArray, preference: IntArray
) -> IntArray:
    """Return, among all cheapest flows, the one with the most `preference` (per unit of flow).

    By complementary slackness every cheapest flow agrees on the arcs whose reduced cost isn't 0;
    only the others are free, so the choice is made among them alone. Of these an arc that is the
    last one of its node has no choice either, and so on: only arcs on cycles are left.
    """
    free = _on_cycles(network, np.flatnonzero(reduced_costs(network, distances) == 0))
    if len(free) == 0:
        return flows
    runs = flows > 0
    runs[free] = False
    served = np.bincount(network.tails[runs], flows[runs], len(network.supplies))
    served -= np.bincount(network.heads[runs], flows[runs], len(network.supplies))
    ends = np.concatenate([network.tails[free], network.heads[free]])
    nodes, renumbered = np.unique(ends, return_inverse=True)
    among_equals = Network(
        tails=renumbered[: len(free)],
        heads=renumbered[len(free) :],
        capacities=network.capacities[free],
        costs=-preference[free],
        supplies=network.supplies[nodes] - served[nodes].astype(np.int64),
    )
    settled = flows.copy()
    settled[free] = cheapest_flow(among_equals)
    return settled


def _on_cycles(network: Network, arcs: IntArray) -> IntArray:
    """Return those of the arcs that are left when arcs that end at a node alone are taken away."""
    while True:
        tails, heads = network.tails[arcs], network.heads[arcs]
        degree = np.bincount(np.concatenate([tails, heads]), minlength=len(network.supplies))
        is_last = (degree[tails] == 1) | (degree[heads] == 1)
        if not is_last.any():
            return arcs
        arcs = arcs[~is_last]
