"""Cheapest flows in a network, and the prices that prove them cheapest.

A flow is cheapest exactly when its residual network has no cycle of negative cost, that is when
shortest distances exist in it. Those distances are the prices (potentials) of the nodes; an arc's
reduced cost, cost + price(tail) - price(head), is then never negative where flow could still be
added and never positive where some could be taken away (Ahuja, Magnanti, Orlin: Network Flows,
theorems 9.1 and 9.3).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

from pipelines.errors import Broken

Integers = NDArray[np.int64]

LARGEST_COST = 2**62
"""The solver multiplies costs by the number of nodes; the product must fit in 64 bits."""

UNREACHED = np.iinfo(np.int64).max // 4
"""A distance longer than any path, yet small enough that adding a cost doesn't overflow."""


@dataclass(frozen=True)
class Network:
    """Arcs as columns, each of the same length, and what every node sends out (below 0: takes)."""

    tails: Integers
    heads: Integers
    capacities: Integers
    costs: Integers
    supplies: Integers


def cheapest_flow(network: Network) -> Integers:
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


def residual_distances(network: Network, flows: Integers, start: int) -> Integers:
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
    order = np.argsort(heads, kind="stable")
    tails, costs = tails[order], costs[order]
    reached, first = np.unique(heads[order], return_index=True)
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


def reduced_costs(network: Network, distances: Integers) -> Integers:
    """Return cost + distance(tail) - distance(head) of each arc."""
    return network.costs + distances[network.tails] - distances[network.heads]


def settle_ties(
    network: Network, flows: Integers, distances: Integers, preference: Integers
) -> Integers:
    """Return, among all cheapest flows, the one with the most `preference` (per unit of flow).

    By complementary slackness every cheapest flow agrees on the arcs whose reduced cost isn't 0;
    only the others are free, so the choice is made among them alone.
    """
    free = reduced_costs(network, distances) == 0
    served = np.zeros_like(network.supplies)
    np.add.at(served, network.tails[~free], flows[~free])
    np.add.at(served, network.heads[~free], -flows[~free])
    among_equals = replace(
        network,
        tails=network.tails[free],
        heads=network.heads[free],
        capacities=network.capacities[free],
        costs=-preference[free],
        supplies=network.supplies - served,
    )
    settled = flows.copy()
    settled[free] = cheapest_flow(among_equals)
    return settled
