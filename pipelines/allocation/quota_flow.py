"""The optimal plan where quotas are the only limits: a min-cost flow in integers.

The constraints form a network, lead -> lead at institution -> product -> sink, whose flow of least
cost (-value) is the plan. The shadow prices of the quotas are distances in its residual network.

Large days are solved by variable fixing. At prices near the optimal ones most leads choose the
same pairs as at the optimal ones:

1. Estimate prices by dual ascent, from one lead in ten and then from all.
2. Fix the leads none of whose pairs has a reduced cost near 0: they take the pairs they choose.
3. Solve the core problem, a flow of the free leads over the remaining quota; it gives new prices.
4. If each fixed lead chooses the same pairs at the new prices, the plan is optimal: the choices
   maximise the surplus at these prices, and each quota with a price is full. Otherwise free the
   leads whose choice changes, and repeat from 3.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from pipelines.allocation.dual_ascent import StoppingRule, minimise_dual
from pipelines.allocation.lead_subproblem import LeadSubproblems
from pipelines.allocation.min_cost_flow import (
    LARGEST_COST,
    Network,
    break_ties,
    compute_residual_distances,
    solve_min_cost_flow,
)
from pipelines.allocation.problem import PairColumns, build_quota_limit
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

FINEST_UNITS = 10_000
"""Integer units in one unit of money; finer values are rounded."""

CORE_PROBLEM_FROM = 100_000
"""Number of pairs from which variables are fixed."""

SAMPLE_EVERY = 10
"""Prices are first estimated from one lead in this many."""
SAMPLE_RULE = StoppingRule(progress=1e-4)
REFINING_RULE = StoppingRule(progress=1e-4, window=4, max_evaluations=30)
NEAR_ZERO = 0.03
"""A reduced cost within this share of the product's mean value is near 0."""


@dataclass(frozen=True)
class QuotaPlan:
    """An optimal plan of the pairs."""

    chosen: BoolArray
    price_of_quota: IntArray
    """Value that one more lead a day would add, in integer units."""


def choose_units(pairs: PairColumns, products: int) -> float:
    """Return the integer units of money: `FINEST_UNITS`, or fewer if 64 bits don't suffice.

    Below 1, a unit is several units of money: a huge value makes the others coarse, and the flow
    remains solvable.
    """
    nodes = 2 * len(pairs.lead) + products + 2
    largest = float(pairs.value.max(initial=1.0))
    units: float = FINEST_UNITS
    while largest * units * nodes * 4 > LARGEST_COST:
        units = units // 10 if units > 1 else units / 10
    return units


def solve_quotas(
    pairs: PairColumns, value: IntArray, quota: IntArray, max_offers: int
) -> QuotaPlan:
    """Return the plan of greatest value, and among equals of the greatest sum of tie-break keys.

    Args:
        pairs: The pairs, by lead, institution and product.
        value: Value of each pair, in integer units, >= 0.
        quota: Most leads of each product, by product code.
        max_offers: Most pairs of one lead.
    """
    network = build_quota_network(pairs, value, quota, max_offers)
    if len(value) < CORE_PROBLEM_FROM:
        flows = solve_min_cost_flow(network)
    else:
        chosen = _solve_core_problem(pairs, value, quota, max_offers)
        flows = _build_flows(network, chosen, len(quota), int(pairs.lead.max(initial=-1)) + 1)
    sink = len(network.supplies) - 1
    distances = compute_residual_distances(network, flows, sink)
    preference = np.zeros_like(flows)
    preference[: len(value)] = pairs.tie_break_key
    flows = break_ties(network, flows, distances, preference)
    return QuotaPlan(flows[: len(value)] > 0, _read_quota_prices(network, distances, len(quota)))


def build_quota_network(
    pairs: PairColumns, value: IntArray, quota: IntArray, max_offers: int
) -> Network:
    """Return the network; its first arcs are the pairs, then the quotas by product.

    The arc of a pair starts at the lead if the institution has no other product for the lead, else
    at a node of the lead at the institution with capacity 1. The capacity that a lead doesn't use
    flows from the lead to the sink at no cost.
    """
    leads = int(pairs.lead.max(initial=-1)) + 1
    group = pairs.lead_institution
    first = np.flatnonzero(np.diff(group, prepend=-1))
    size = np.diff(first, append=len(group))
    group_of_pair = np.repeat(np.arange(len(first)), size)
    is_shared = size > 1
    shared_node = leads + np.cumsum(is_shared) - 1
    group_lead = pairs.lead[first]
    first_product = leads + int(is_shared.sum())
    sink = first_product + len(quota)
    lead_capacity = np.minimum(np.bincount(group_lead, minlength=leads), max_offers)
    products = np.arange(first_product, sink)
    ones = np.ones(len(value), np.int64)
    return Network(
        tails=np.concatenate(
            [
                np.where(is_shared[group_of_pair], shared_node[group_of_pair], pairs.lead),
                products,
                group_lead[is_shared],
                np.arange(leads),
            ]
        ),
        heads=np.concatenate(
            [
                pairs.product + first_product,
                np.full(len(quota), sink),
                shared_node[is_shared],
                np.full(leads, sink),
            ]
        ),
        capacities=np.concatenate([ones, quota, ones[: is_shared.sum()], lead_capacity]),
        costs=np.concatenate([-value, np.zeros(len(quota) + is_shared.sum() + leads, np.int64)]),
        supplies=np.concatenate(
            [lead_capacity, np.zeros(sink - leads, np.int64), [-lead_capacity.sum()]]
        ),
    )


def _build_flows(network: Network, chosen: BoolArray, products: int, leads: int) -> IntArray:
    """Return the flow on each arc of a quota network if the pairs `chosen` are matches.

    Its arcs are the pairs, the quotas by product, the shared nodes, and the leads.
    """
    nodes, pairs = len(network.supplies), len(chosen)
    ends = np.cumsum([0, pairs, products, len(network.tails) - pairs - products - leads, leads])
    pair_arcs, quota_arcs, shared_arcs, lead_arcs = map(np.arange, ends[:-1], ends[1:])
    flows = np.zeros(len(network.tails), np.int64)
    flows[pair_arcs] = chosen
    outflow = np.bincount(network.tails[pair_arcs][chosen], minlength=nodes)
    inflow = np.bincount(network.heads[pair_arcs][chosen], minlength=nodes)
    flows[quota_arcs] = inflow[network.tails[quota_arcs]]
    flows[shared_arcs] = outflow[network.heads[shared_arcs]]
    np.add.at(outflow, network.tails[shared_arcs], flows[shared_arcs])
    flows[lead_arcs] = (
        network.supplies[network.tails[lead_arcs]] - outflow[network.tails[lead_arcs]]
    )
    return flows


def _read_quota_prices(network: Network, distances: IntArray, products: int) -> IntArray:
    """Return the gain from one more unit of each quota: the shortest path back from the sink.

    A product that no lead can reach has nothing to gain.
    """
    sink = len(network.supplies) - 1
    return np.maximum(0, -np.minimum(distances[sink - products : sink], 0))


def _solve_core_problem(
    pairs: PairColumns, value: IntArray, quota: IntArray, max_offers: int
) -> BoolArray:
    """Return the pairs of an optimal plan, by a flow of the free leads alone."""
    fixing = VariableFixing(pairs, value, quota, max_offers)
    while True:
        rows = fixing.free_pairs
        free = pairs.take(rows)
        lead = np.cumsum(np.diff(free.lead, prepend=-1) != 0) - 1
        network = build_quota_network(
            replace(free, lead=lead), value[rows], fixing.remaining_quota, max_offers
        )
        flows = solve_min_cost_flow(network)
        distances = compute_residual_distances(network, flows, len(network.supplies) - 1)
        if fixing.confirm(_read_quota_prices(network, distances, len(quota))):
            chosen = fixing.fixed_choice
            chosen[rows] = flows[: len(rows)] > 0
            return chosen


class VariableFixing:
    """The leads that are fixed, and the pairs they take; the other leads are free.

    Args:
        pairs: The pairs, by lead, institution and product.
        value: Value of each pair, in integer units, >= 0.
        quota: Most leads of each product, by product code.
        max_offers: Most pairs of one lead.
    """

    def __init__(
        self, pairs: PairColumns, value: IntArray, quota: IntArray, max_offers: int
    ) -> None:
        self._pairs, self._quota = pairs, quota
        self._value, self._max_offers = value, max_offers
        self._leads = _build_subproblems(pairs, value, quota, max_offers)
        mean_value = _compute_mean_value(pairs.product, value, len(quota))
        sample = np.flatnonzero(pairs.lead % SAMPLE_EVERY == 0)
        sampled = _build_subproblems(pairs.take(sample), value[sample], quota, max_offers)
        start = _estimate_prices(
            sampled, quota / SAMPLE_EVERY, np.zeros(len(quota)), mean_value, SAMPLE_RULE
        )
        prices = _estimate_prices(
            self._leads, quota.astype(np.float64), start, mean_value, REFINING_RULE
        )
        reduced_cost = self._reduced_costs(prices)
        is_near = np.abs(reduced_cost) < NEAR_ZERO * mean_value[pairs.product]
        self._is_chosen = reduced_cost > 0
        self._is_free = np.zeros(int(pairs.lead.max(initial=-1)) + 1, np.bool_)
        self._is_free[pairs.lead[is_near]] = True
        self._free_overfull_products()

    @property
    def free_pairs(self) -> IntArray:
        """Return the row numbers of the pairs of free leads."""
        return np.flatnonzero(self._is_free[self._pairs.lead])

    @property
    def fixed_choice(self) -> BoolArray:
        """Return which pairs the fixed leads take."""
        return self._is_chosen & ~self._is_free[self._pairs.lead]

    @property
    def remaining_quota(self) -> IntArray:
        """Return the quota that the fixed leads leave, by product."""
        return self._quota - np.bincount(
            self._pairs.product[self.fixed_choice], minlength=len(self._quota)
        )

    def confirm(self, prices: IntArray) -> bool:
        """Return whether all fixed leads choose the same pairs at `prices`; free the others."""
        reduced_cost = self._reduced_costs(prices.astype(np.float64))
        changes = np.where(self._is_chosen, reduced_cost < 0, reduced_cost > 0)
        # Of more equal pairs than a lead may take none is above its threshold, but it takes some.
        lead = self._pairs.lead
        offers = np.bincount(lead[self._is_chosen], minlength=len(self._is_free))
        is_tied = (reduced_cost == 0) & (self._value > prices[self._pairs.product])
        changes |= is_tied & ~self._is_chosen & (offers < self._max_offers)[lead]
        changes &= ~self._is_free[lead]
        if not changes.any():
            return True
        self._is_free[self._pairs.lead[changes]] = True
        self._free_overfull_products()
        return False

    def _free_overfull_products(self) -> None:
        """Free the leads of products whose quota the fixed leads exceed."""
        while (is_over := self.remaining_quota < 0).any():
            leads = self._pairs.lead[self.fixed_choice & is_over[self._pairs.product]]
            self._is_free[leads] = True

    def _reduced_costs(self, prices: FloatArray) -> FloatArray:
        """Return each pair's reduced cost; -inf behind a better pair of the same institution."""
        reduced_cost = np.full(len(self._pairs.lead), -np.inf)
        rows, found = self._leads.find_near_choice([prices], np.inf)
        reduced_cost[rows] = found
        return reduced_cost


def _estimate_prices(
    leads: LeadSubproblems,
    capacity: FloatArray,
    start: FloatArray,
    scale: FloatArray,
    rule: StoppingRule,
) -> FloatArray:
    def dual(prices: FloatArray) -> tuple[float, FloatArray]:
        demand = leads.solve([prices])
        return demand.surplus + math.fsum((capacity * prices).tolist()), capacity - demand.use[0]

    return minimise_dual(dual, start, np.full(len(capacity), np.inf), scale, rule).prices


def _build_subproblems(
    pairs: PairColumns, value: IntArray, quota: IntArray, max_offers: int
) -> LeadSubproblems:
    limits = (build_quota_limit(pairs.product, quota),)
    return LeadSubproblems(
        pairs.lead,
        pairs.lead_institution,
        value.astype(np.float64),
        limits,
        max_offers=max_offers,
    )


def _compute_mean_value(product: IntArray, value: IntArray, products: int) -> FloatArray:
    """Return the mean value of the pairs of each product; at least 1."""
    number = np.bincount(product, minlength=products)
    total = np.bincount(product, weights=value, minlength=products)
    return np.maximum(total / np.maximum(number, 1), 1.0)
