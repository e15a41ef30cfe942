"""Choose the day's matches: the most value that quotas and the limit of offers a lead allow.

    maximise   sum of value over the chosen pairs
    such that  each lead is chosen at most K times, and at most once per institution,
               each product is chosen at most quota times

The constraints form a network (lead -> lead at institution -> product -> sink), so a cheapest flow
solves it exactly in whole numbers. Prices of quota come out of the same network, and at *any*
prices p >= 0 the Lagrangian

    sum over products of quota x p
    + sum over leads of the K best (value - p), one per institution, where positive

is an upper bound on every possible plan. The bound is computed from the pairs alone, so it also
catches an error of the solver: value = bound proves that the plan is the best one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import Broken
from pipelines.matches.network import (
    LARGEST_COST,
    Integers,
    Network,
    cheapest_flow,
    residual_distances,
    settle_ties,
)

FINEST_UNITS = 10_000
"""Whole units that one unit of money is cut into; values finer than that are rounded."""


@dataclass(frozen=True)
class Candidates:
    """Eligible pairs as columns of equal length; one row per (lead, product).

    `lead`, `institution` and `product` are codes 0, 1, 2 …; an institution owns whole products.
    `value` is money, above 0. `lottery` (0 <= number < 2**32) decides between equal plans: the
    greater sum wins. Give each pair a number drawn from its own key, and neither the order of
    rows nor the solver's version decides who goes first.
    """

    lead: Integers
    institution: Integers
    product: Integers
    value: NDArray[np.float64]
    lottery: Integers

    def take(self, rows: Integers) -> "Candidates":
        """Return the given rows, in that order."""
        return Candidates(
            lead=self.lead[rows],
            institution=self.institution[rows],
            product=self.product[rows],
            value=self.value[rows],
            lottery=self.lottery[rows],
        )


@dataclass(frozen=True)
class Plan:
    """What was chosen, and the proof of how good it is."""

    chosen: NDArray[np.bool_]
    """Which rows of the candidates are matches."""
    value: float
    """Their value, in money."""
    bound: float
    """No plan that keeps the constraints is worth more."""
    price_of_quota: NDArray[np.float64]
    """What one more lead a day would add to the value, by product; 0 where quota is left."""

    @property
    def gap(self) -> float:
        """Return the share of the bound that the plan may fall short of it; 0 is proven best."""
        return max(0.0, 1 - self.value / self.bound) if self.bound > 0 else 0.0


def allocate(candidates: Candidates, quota: Integers, *, most_offers: int) -> Plan:
    """Choose the pairs of greatest total value; the same set whatever the order of the rows.

    Args:
        candidates: The pairs to choose from.
        quota: Most leads of each product, >= 0, by product code.
        most_offers: Most pairs that one lead is chosen for (K), >= 1.

    Raises:
        Broken: A pair is there twice, or its value isn't above 0.
    """
    order = np.lexsort((candidates.product, candidates.lead))
    pairs = candidates.take(order)
    _check(pairs)
    units = _units(pairs, len(quota))
    worth = np.rint(pairs.value * units).astype(np.int64)
    network = _network(pairs, worth, quota, most_offers)
    flows = cheapest_flow(network)
    sink = len(network.supplies) - 1
    distances = residual_distances(network, flows, sink)
    lottery = np.zeros_like(flows)
    lottery[: len(worth)] = pairs.lottery
    flows = settle_ties(network, flows, distances, lottery)
    prices = _prices(network, distances, len(quota))
    is_chosen = flows[: len(worth)] > 0
    chosen = np.zeros(len(order), np.bool_)
    chosen[order[is_chosen]] = True
    return Plan(
        chosen=chosen,
        value=int(worth[is_chosen].sum()) / units,
        bound=_bound(pairs, worth, quota, prices, most_offers) / units,
        price_of_quota=prices / units,
    )


def _check(pairs: Candidates) -> None:
    """Refuse what would make the plan meaningless; `pairs` are sorted by lead and product."""
    again = (np.diff(pairs.lead) == 0) & (np.diff(pairs.product) == 0)
    if again.any():
        raise Broken(f"{int(again.sum()):,} pairs of lead and product are there twice")
    unfit = ~(np.isfinite(pairs.value) & (pairs.value > 0))
    if unfit.any():
        raise Broken(f"{int(unfit.sum()):,} of {len(unfit):,} pairs have no value above 0")


def _units(pairs: Candidates, products: int) -> int:
    """Return how finely money is cut: as `FINEST_UNITS` says, coarser if 64 bits don't suffice."""
    nodes = 2 * len(pairs.lead) + products + 2
    largest = float(pairs.value.max(initial=1.0))
    units = FINEST_UNITS
    while units > 1 and largest * units * nodes * 4 > LARGEST_COST:
        units //= 10
    return units


def _network(pairs: Candidates, worth: Integers, quota: Integers, most_offers: int) -> Network:
    """Return the network; its first arcs are the pairs, then the quotas, one by product.

    A lead's node may be joined to a product's directly where it has no other product of that
    institution; else a node between holds it to one of them. What a lead doesn't use runs from it
    to the sink free of charge.
    """
    leads = int(pairs.lead.max(initial=-1)) + 1
    institutions = int(pairs.institution.max(initial=-1)) + 1
    group, of_pair, size = np.unique(
        pairs.lead * institutions + pairs.institution, return_inverse=True, return_counts=True
    )
    shared = size > 1
    between = leads + np.cumsum(shared) - 1
    group_lead = group // max(institutions, 1)
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


def _prices(network: Network, distances: Integers, products: int) -> Integers:
    """Return the gain from one more unit of each quota: the cheapest way round through its arc.

    A product that no lead can reach has nothing to gain.
    """
    sink = len(network.supplies) - 1
    return np.maximum(0, -np.minimum(distances[sink - products : sink], 0))


def _bound(
    pairs: Candidates, worth: Integers, quota: Integers, prices: Integers, most_offers: int
) -> int:
    """Return the Lagrangian bound at `prices`, in units of worth."""
    surplus = worth - prices[pairs.product]
    gains = np.flatnonzero(surplus > 0)
    order = gains[np.lexsort((-surplus[gains], pairs.institution[gains], pairs.lead[gains]))]
    lead, institution, surplus = pairs.lead[order], pairs.institution[order], surplus[order]
    is_best = np.ones(len(lead), np.bool_)
    is_best[1:] = (np.diff(lead) != 0) | (np.diff(institution) != 0)
    lead, surplus = lead[is_best], surplus[is_best]
    order = np.lexsort((-surplus, lead))
    lead, surplus = lead[order], surplus[order]
    place = np.arange(len(lead)) - np.searchsorted(lead, lead)
    return int(surplus[place < most_offers].sum()) + int((quota * prices).sum())
