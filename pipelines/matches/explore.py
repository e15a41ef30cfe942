"""Try out a few near-best pairs by lot, so that what was never shown can be learned about.

A plan that always follows the models never finds out where they are wrong. So a share of every
product's places is filled by lot. For each product j

    menu(j)   near-best pairs that the plan left out, of leads that have room for one more offer;
              the best of them, so many for each place
    c(j)      places to try out: the share of its quota, rounded by lot; at most half of the menu
    drawn     c(j) of the menu, each with the probability c(j) / |menu(j)|: exactly, since it is
              a simple random sample without replacement (Cochran 1977, Sampling Techniques, ch. 2)

A lead is in the menus of no more products than it has room for, each of another institution, so
whatever is drawn keeps every limit. Where a product has no place left, its planned matches of
least surplus give way. What is planned is certain: its propensity is 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expectations.policy_types import Exploration
from pipelines.matches.allocate import Candidates
from pipelines.matches.candidates import Integers

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]

AT_LEAST_TWO = 2
"""Pairs of a menu for each that is drawn: what is certain is no trial."""


@dataclass(frozen=True)
class Terms:
    """What bounds the trials of each product; columns by product code."""

    quota: Integers
    budget_left: Numbers
    """Money that the plan leaves, in the currency of `spend`; inf: no limit."""
    decisions: Integers
    """What is known of it: how many of its leads were decided on."""
    lot: Integers
    """A number below 2**32 drawn from the day and the product, which rounds its share."""


@dataclass(frozen=True)
class Trials:
    """What was left to the lot, as row numbers of the candidates."""

    menu: Integers
    """All pairs that could have been drawn."""
    propensity: Numbers
    """Of each pair of the menu: the probability with which it was drawn."""
    is_drawn: Truths
    """Of each pair of the menu: whether it was."""
    gave_way: Integers
    """Planned matches that made room."""

    @property
    def drawn(self) -> Integers:
        """Return the rows that were drawn."""
        return self.menu[self.is_drawn]


def draw_trials(
    candidates: Candidates,
    chosen: Truths,
    *,
    price: Numbers,
    spend: Numbers,
    terms: Terms,
    most_offers: int,
    policy: Exploration,
) -> Trials:
    """Draw the pairs that are tried out beside a plan; the same whatever the order of rows.

    Args:
        candidates: The pairs to choose from.
        chosen: Which of them the plan makes matches.
        price: Shadow price of a place, by product code, in the money of the pairs' value.
        spend: Of each pair: what its institution is expected to pay for it, >= 0.
        terms: What bounds the trials of each product.
        most_offers: Most matches of one lead (K).
        policy: How much is tried out, and what near-best means.
    """
    surplus = candidates.value - price[candidates.product]
    wanted = _places(terms, policy)
    menu = _menu(candidates, chosen, surplus, most_offers, policy)
    best_first = (candidates.lead[menu], -surplus[menu])
    waiting = _place_within(candidates.product[menu], *best_first)
    menu = menu[waiting < policy.most_waiting_per_place * wanted[candidates.product[menu]]]
    product = candidates.product[menu]
    offered = np.bincount(product, minlength=len(terms.quota))
    affordable = _affordable(product, spend[menu], terms.budget_left)
    trials = np.minimum.reduce([wanted, offered // AT_LEAST_TWO, affordable])
    places = np.floor(trials).astype(np.int64)
    place = _place_within(product, candidates.lead[menu], _lots(candidates, menu))
    return Trials(
        menu=menu,
        propensity=places[product] / np.maximum(offered, 1)[product],
        is_drawn=place < places[product],
        gave_way=_giving_way(candidates, chosen, surplus, terms.quota - places),
    )


def _affordable(product: Integers, spend: Numbers, budget_left: Numbers) -> Numbers:
    """Return how many trials of each product its money allows, if the dearest ones are drawn."""
    dearest = np.zeros(len(budget_left))
    np.maximum.at(dearest, product, spend)
    trials = np.full(len(budget_left), np.inf)
    np.divide(np.maximum(budget_left, 0), dearest, out=trials, where=dearest > 0)
    return trials


def _menu(
    pairs: Candidates, chosen: Truths, surplus: Numbers, most_offers: int, policy: Exploration
) -> Integers:
    """Return the pairs that may be drawn: near-best, and never more of a lead than it has room for.

    A lead whose places are all taken has no room; of the others each pair with a surplus would
    be planned if its product had a place, so it is near-best if its surplus is almost that of none.
    """
    leads = int(pairs.lead.max(initial=-1)) + 1
    planned = np.bincount(pairs.lead[chosen], minlength=leads)
    room = np.minimum(most_offers - planned, policy.most_drawn_per_lead)
    best = np.zeros(leads)
    np.maximum.at(best, pairs.lead, pairs.value)
    visited = pairs.lead * (int(pairs.institution.max(initial=-1)) + 1) + pairs.institution
    is_near = ~chosen & (room[pairs.lead] > 0) & (surplus >= -policy.near_best * best[pairs.lead])
    is_near &= ~np.isin(visited, visited[chosen])
    near = np.flatnonzero(is_near)
    order = near[np.lexsort((pairs.product[near], -surplus[near], visited[near]))]
    once = order[np.flatnonzero(np.diff(visited[order], prepend=-1))]
    order = once[np.lexsort((pairs.product[once], -surplus[once], pairs.lead[once]))]
    lead = pairs.lead[order]
    place = np.arange(len(order)) - np.searchsorted(lead, lead)
    return order[place < room[lead]]


def _places(terms: Terms, policy: Exploration) -> Integers:
    """Return how many places of each product are tried out; its share, rounded by its lot."""
    is_new = terms.decisions < policy.new_product_decisions
    share = policy.share * np.where(is_new, policy.new_product_times, 1.0)
    return np.minimum(
        np.floor(terms.quota * share + terms.lot / 2**32).astype(np.int64), terms.quota
    )


def _lots(pairs: Candidates, rows: Integers) -> Integers:
    """Return a number for each pair, drawn from its lottery but unlike it (splitmix64)."""
    mixed = pairs.lottery[rows].astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1), np.int64)


def _place_within(group: Integers, *by: Integers | Numbers) -> Integers:
    """Return the place of each row within its group, from 0, in the order of `by`, last first."""
    order = np.lexsort((*by, group))
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    return place


def _giving_way(pairs: Candidates, chosen: Truths, surplus: Numbers, most: Integers) -> Integers:
    """Return the planned matches beyond the `most` of their product: those of least surplus."""
    planned = np.flatnonzero(chosen)
    product = pairs.product[planned]
    least_last = (pairs.lead[planned], pairs.lottery[planned], -surplus[planned])
    place = _place_within(product, *least_last)
    return planned[place >= most[product]]
