"""The best plan where only quotas bind: a cheapest flow, exact and in whole numbers.

The constraints form a network (lead -> lead at institution -> product -> sink), so a cheapest flow
solves it exactly, and the prices of quota come out of the same network.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.allocation.min_cost_flow import (
    LARGEST_COST,
    Network,
    cheapest_flow,
    residual_distances,
    settle_ties,
)
from pipelines.allocation.problem import Candidates
from pipelines.allocation.variable_fixing import Plain, flows_of
from pipelines.core.arrays import BoolArray, IntArray

FINEST_UNITS = 10_000
"""Whole units that one unit of money is cut into; values finer than that are rounded."""

LARGE = 100_000
"""From so many pairs on, leads whose choice is plain are left out of the flow."""


@dataclass(frozen=True)
class Flow:
    """A best plan of the pairs."""

    chosen: BoolArray
    price_of_quota: IntArray
    """What one more lead a day would add, in units of worth."""


def finest_units(pairs: Candidates, products: int) -> int:
    """Return how finely money is cut: as `FINEST_UNITS` says, coarser if 64 bits don't suffice."""
    nodes = 2 * len(pairs.lead) + products + 2
    largest = float(pairs.value.max(initial=1.0))
    units = FINEST_UNITS
    while units > 1 and largest * units * nodes * 4 > LARGEST_COST:
        units //= 10
    return units


def best_flow(pairs: Candidates, worth: IntArray, quota: IntArray, most_offers: int) -> Flow:
    """Return the plan of most worth; of several the one whose lottery numbers sum to most.

    Args:
        pairs: The pairs, by lead, institution and product.
        worth: Of each pair, in whole units, >= 0.
        quota: Most leads of each product, by product code.
        most_offers: Most pairs of one lead.
    """
    network = quota_network(pairs, worth, quota, most_offers)
    if len(worth) < LARGE:
        flows = cheapest_flow(network)
    else:
        chosen = _around_plain_leads(pairs, worth, quota, most_offers)
        flows = flows_of(network, chosen, len(quota), int(pairs.lead.max(initial=-1)) + 1)
    sink = len(network.supplies) - 1
    distances = residual_distances(network, flows, sink)
    lottery = np.zeros_like(flows)
    lottery[: len(worth)] = pairs.lottery
    flows = settle_ties(network, flows, distances, lottery)
    return Flow(flows[: len(worth)] > 0, _prices(network, distances, len(quota)))


def _around_plain_leads(
    pairs: Candidates, worth: IntArray, quota: IntArray, most_offers: int
) -> BoolArray:
    """Return a plan of most worth, by a flow of the contested leads alone; see `contested`."""
    plain = Plain(pairs, worth, quota, most_offers)
    while True:
        rows = plain.contested
        some = pairs.take(rows)
        lead = np.cumsum(np.diff(some.lead, prepend=-1) != 0) - 1
        network = quota_network(replace(some, lead=lead), worth[rows], plain.places, most_offers)
        flows = cheapest_flow(network)
        distances = residual_distances(network, flows, len(network.supplies) - 1)
        if plain.stays_at(_prices(network, distances, len(quota))):
            chosen = plain.taken
            chosen[rows] = flows[: len(rows)] > 0
            return chosen


def quota_network(pairs: Candidates, worth: IntArray, quota: IntArray, most_offers: int) -> Network:
    """Return the network; its first arcs are the pairs, then the quotas, one by product.

    A lead's node may be joined to a product's directly where it has no other product of that
    institution; else a node between holds it to one of them. What a lead doesn't use runs from it
    to the sink free of charge.
    """
    leads = int(pairs.lead.max(initial=-1)) + 1
    institutions = int(pairs.institution.max(initial=-1)) + 1
    group = pairs.lead * institutions + pairs.institution
    first = np.flatnonzero(np.diff(group, prepend=-1))
    size = np.diff(first, append=len(group))
    of_pair = np.repeat(np.arange(len(first)), size)
    shared = size > 1
    between = leads + np.cumsum(shared) - 1
    group_lead = pairs.lead[first]
    first_product = leads + int(shared.sum())
    sink = first_product + len(quota)
    room = np.minimum(np.bincount(group_lead, minlength=leads), most_offers)
    products = np.arange(first_product, sink)
    ones = np.ones(len(worth), np.int64)
    return Network(
        tails=np.concatenate(
            [
                np.where(shared[of_pair], between[of_pair], pairs.lead),
                products,
                group_lead[shared],
                np.arange(leads),
            ]
        ),
        heads=np.concatenate(
            [
                pairs.product + first_product,
                np.full(len(quota), sink),
                between[shared],
                np.full(leads, sink),
            ]
        ),
        capacities=np.concatenate([ones, quota, ones[: shared.sum()], room]),
        costs=np.concatenate([-worth, np.zeros(len(quota) + shared.sum() + leads, np.int64)]),
        supplies=np.concatenate([room, np.zeros(sink - leads, np.int64), [-room.sum()]]),
    )


def _prices(network: Network, distances: IntArray, products: int) -> IntArray:
    """Return the gain from one more unit of each quota: the cheapest way round through its arc.

    A product that no lead can reach has nothing to gain.
    """
    sink = len(network.supplies) - 1
    return np.maximum(0, -np.minimum(distances[sink - products : sink], 0))
