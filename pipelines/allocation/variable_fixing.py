"""The best plan of a large day under quotas: most leads' choice is plain, the others' is a flow.

At prices of quota that are nearly right most leads choose the same as at the right ones. So prices
are guessed; leads none of whose pairs is near to turning take what they choose; a cheapest flow
decides the contested ones, with the places that are left, and tells the prices anew. If at those
every plain lead still chooses what it took, no plan is better: what the leads take is the most that
they can have at these prices, and a quota that has a price is full. Whoever would choose otherwise
is contested, too, and the flow is made again.
"""

import math

import numpy as np

from pipelines.allocation.constraints import quotas
from pipelines.allocation.dual_ascent import Stop, lowest
from pipelines.allocation.lead_subproblem import Leads
from pipelines.allocation.min_cost_flow import Network
from pipelines.allocation.problem import Candidates
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

EVERY = 10
"""Prices are first guessed from one lead in so many, then by all."""
GUESSED, REFINED = Stop(progress=1e-4), Stop(progress=1e-4, evaluations=4, most_evaluations=30)
NEAR = 0.03
"""A pair is near to turning within this share of what pairs of its product are worth."""


class Plain:
    """Which leads are plain, and what they take.

    Args:
        pairs: The pairs, by lead, institution and product.
        worth: Of each pair, in whole units, >= 0.
        quota: Most leads of each product, by product code.
        most_offers: Most pairs of one lead.
    """

    def __init__(
        self, pairs: Candidates, worth: IntArray, quota: IntArray, most_offers: int
    ) -> None:
        self._pairs, self._quota = pairs, quota
        self._leads = _leads(pairs, worth, quota, most_offers)
        typical = _mean_worth(pairs.product, worth, len(quota))
        some = np.flatnonzero(pairs.lead % EVERY == 0)
        asked = _leads(pairs.take(some), worth[some], quota, most_offers)
        guess = _prices(asked, quota / EVERY, np.zeros(len(quota)), typical, GUESSED)
        prices = _prices(self._leads, quota.astype(np.float64), guess, typical, REFINED)
        margin = self._margin(prices)
        is_near = np.abs(margin) < NEAR * typical[pairs.product]
        self._chooses = margin > 0
        self._is_contested = np.zeros(int(pairs.lead.max(initial=-1)) + 1, np.bool_)
        self._is_contested[pairs.lead[is_near]] = True
        self._free_places()

    @property
    def contested(self) -> IntArray:
        """Return the pairs of the leads that aren't plain."""
        return np.flatnonzero(self._is_contested[self._pairs.lead])

    @property
    def taken(self) -> BoolArray:
        """Return which pairs plain leads take."""
        return self._chooses & ~self._is_contested[self._pairs.lead]

    @property
    def places(self) -> IntArray:
        """Return what plain leads leave of each quota."""
        return self._quota - np.bincount(
            self._pairs.product[self.taken], minlength=len(self._quota)
        )

    def stays_at(self, prices: IntArray) -> bool:
        """Return whether all plain leads choose at `prices` what they took; else contest more."""
        margin = self._margin(prices.astype(np.float64))
        turns = np.where(self._chooses, margin < 0, margin > 0)
        turns &= ~self._is_contested[self._pairs.lead]
        if not turns.any():
            return True
        self._is_contested[self._pairs.lead[turns]] = True
        self._free_places()
        return False

    def _free_places(self) -> None:
        """Contest the leads of products that plain leads would overfill."""
        while (over := self.places < 0).any():
            self._is_contested[self._pairs.lead[self.taken & over[self._pairs.product]]] = True

    def _margin(self, prices: FloatArray) -> FloatArray:
        """Return how far each pair is from its lead's choice turning; -inf behind a better pair
        of the same institution."""
        margin = np.full(len(self._pairs.lead), -np.inf)
        rows, found = self._leads.within([prices], np.inf)
        margin[rows] = found
        return margin


def flows_of(network: Network, chosen: BoolArray, products: int, leads: int) -> IntArray:
    """Return the flow on each arc of a network of quotas when these pairs are chosen.

    Its arcs are the pairs, one by product, one by node between a lead and an institution, one by
    lead.
    """
    nodes, pairs = len(network.supplies), len(chosen)
    ends = np.cumsum([0, pairs, products, len(network.tails) - pairs - products - leads, leads])
    of_pairs, quota, between, rest = map(np.arange, ends[:-1], ends[1:])
    flows = np.zeros(len(network.tails), np.int64)
    flows[of_pairs] = chosen
    leaves = np.bincount(network.tails[of_pairs][chosen], minlength=nodes)
    enters = np.bincount(network.heads[of_pairs][chosen], minlength=nodes)
    flows[quota] = enters[network.tails[quota]]
    flows[between] = leaves[network.heads[between]]
    np.add.at(leaves, network.tails[between], flows[between])
    flows[rest] = network.supplies[network.tails[rest]] - leaves[network.tails[rest]]
    return flows


def _prices(
    leads: Leads, places: FloatArray, start: FloatArray, scale: FloatArray, stop: Stop
) -> FloatArray:
    def dual(prices: FloatArray) -> tuple[float, FloatArray]:
        demand = leads.demand([prices])
        return demand.surplus + math.fsum((places * prices).tolist()), places - demand.used[0]

    return lowest(dual, start, np.full(len(places), np.inf), scale, stop).prices


def _leads(pairs: Candidates, worth: IntArray, quota: IntArray, most_offers: int) -> Leads:
    group = pairs.lead * (int(pairs.institution.max(initial=0)) + 1) + pairs.institution
    limits = (quotas(pairs.product, quota),)
    return Leads(pairs.lead, group, worth.astype(np.float64), limits, most_offers=most_offers)


def _mean_worth(product: IntArray, worth: IntArray, products: int) -> FloatArray:
    """Return what pairs of each product are worth on average; at least 1."""
    number = np.bincount(product, minlength=products)
    total = np.bincount(product, weights=worth, minlength=products)
    return np.maximum(total / np.maximum(number, 1), 1.0)
