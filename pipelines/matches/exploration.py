"""Try out a few near-best pairs by lot, so that what was never shown can be learned about.

A plan that always follows the models never finds out where they are wrong. So a share of every
product's places is filled by lot. For each product j

    x(j)      places to try out on average: the share of its quota
    menu(j)   near-best pairs that the plan left out, of leads that have room for one more offer and
              within every limit; the best of them, so many for each place
    c(j)      places tried out: x(j) rounded up with the chance of its fraction, else down; at most
              half of the menu, and no more than the limits bear if the dearest are drawn
    drawn     c(j) of the menu: a simple random sample without replacement

so a pair of the menu is drawn with the probability E[c(j)] / |menu(j)|, exactly (Cochran 1977,
Sampling Techniques, ch. 2). Where a product has no place left, its planned matches of least surplus
give way: one that gives way only if x(j) is rounded up is made with the chance that it is not, one
that gives way in any case never is. All other planned matches are certain: their propensity is 1.

A lead is in the menus of no more products than it has room for, each of another institution, and a
planned match gives way only to a trial of its own product, and never where it counts toward a floor
of a group of leads: so whatever is drawn keeps every limit of leads, institutions, products and
money, and every floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from expectations.policy_types import Exploration
from pipelines.allocation.problem import INTEGER_TOLERANCE, Limit, PairColumns
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

AT_LEAST_TWO = 2
"""Pairs of a menu for each that is drawn: what is certain is no trial."""

LOTS = 2**32
"""A product's lot is a whole number below it."""


@dataclass(frozen=True)
class Terms:
    """What bounds the trials of each product; columns by product code."""

    quota: IntArray
    decisions: IntArray
    """What is known of it: how many of its leads were decided on."""
    lot: IntArray
    """A number below `LOTS` drawn from the day and the product, which rounds its share."""


@dataclass(frozen=True)
class Trials:
    """The pairs that were left to the lot; columns of one length."""

    row: IntArray
    """Of the pair, among the candidates."""
    is_planned: BoolArray
    """Whether the plan made it a match; else it stood by in a menu."""
    propensity: FloatArray
    """The probability with which the lot makes it a match."""
    is_made: BoolArray
    """Whether it did."""

    @property
    def drawn(self) -> IntArray:
        """Return the rows that were drawn."""
        return self.row[~self.is_planned & self.is_made]

    @property
    def gave_way(self) -> IntArray:
        """Return the planned rows that made room."""
        return self.row[self.is_planned & ~self.is_made]


def draw_trials(
    candidates: PairColumns,
    chosen: BoolArray,
    *,
    surplus: FloatArray,
    terms: Terms,
    limits: Sequence[Limit] = (),
    most_offers: int,
    policy: Exploration,
) -> Trials:
    """Draw the pairs that are tried out beside a plan; the same whatever the order of rows.

    Args:
        candidates: The pairs to choose from.
        chosen: Which of them the plan makes matches.
        surplus: Of each pair: its value less the prices of what it uses (`after_prices`).
        terms: What bounds the trials of each product.
        limits: What binds the plan besides the quotas of `terms`; rows are those of `candidates`.
        most_offers: Most matches of one lead (K).
        policy: How much is tried out, and what near-best means.
    """
    wanted = _wanted(terms, policy)
    least = np.floor(wanted)
    chances = np.floor((wanted - least) * LOTS)
    left = [(limit, limit.upper - limit.total_use(np.flatnonzero(chosen))) for limit in limits]
    left = [(limit, room) for limit, room in left if not limit.is_floor]
    is_bound = chosen & _counts_toward_a_group(candidates.product, limits, len(wanted))
    quota = terms.quota - np.bincount(candidates.product[is_bound], minlength=len(wanted))
    fits = ~chosen & (wanted[candidates.product] > 0)
    for limit, room in left:
        fits &= ~(_of_pairs(limit) > np.append(room, np.inf)[limit.row])
    menu = _menu(candidates, chosen, fits, surplus, most_offers, policy)
    waiting = _place_within(candidates.product[menu], candidates.lead[menu], -surplus[menu])
    most_waiting = np.maximum(AT_LEAST_TWO, policy.most_waiting_per_place * wanted)
    menu = menu[waiting < np.floor(most_waiting + INTEGER_TOLERANCE)[candidates.product[menu]]]
    product = candidates.product[menu]
    offered = np.bincount(product, minlength=len(wanted))
    most = np.minimum(np.floor(offered / AT_LEAST_TWO), quota)
    for limit, room in left:
        np.minimum(most, _affordable(product, limit, menu, room, most), out=most)
    fewer, more = np.minimum(least, most), np.minimum(least + 1, most)
    places = np.where(terms.lot < chances, more, fewer)
    expected = fewer + (more - fewer) * chances / LOTS
    place = _place_within(product, candidates.lead[menu], _lots(candidates, menu))
    planned, behind = _behind(candidates, chosen & ~is_bound, surplus, quota)
    in_question = behind < np.where(chances > 0, more, fewer)[candidates.product[planned]]
    planned, behind = planned[in_question], behind[in_question]
    owner = candidates.product[planned]
    kept = np.where(behind < fewer[owner], 0.0, 1 - chances[owner] / LOTS)
    return Trials(
        row=np.concatenate([menu, planned]),
        is_planned=np.repeat([False, True], [len(menu), len(planned)]),
        propensity=np.concatenate([expected[product] / np.maximum(offered, 1)[product], kept]),
        is_made=np.concatenate([place < places[product], behind >= places[owner]]),
    )


def after_prices(
    pairs: PairColumns, limits: Sequence[Limit], prices: Mapping[str, FloatArray]
) -> FloatArray:
    """Return what each pair is worth to a plan, once all that it uses is paid for.

    Args:
        pairs: Those that the plan was chosen from.
        limits: What binds the plan besides quotas.
        prices: Of one unit of each row, by name of the limit, as the plan tells them.
    """
    left = pairs.value - prices["quota"][pairs.product]
    for limit in limits:
        price = np.append(prices.get(limit.name, np.zeros(len(limit.upper))) / limit.units, 0.0)
        left -= price[limit.row] * _of_pairs(limit)
    return left


def _wanted(terms: Terms, policy: Exploration) -> FloatArray:
    """Return how many places of each product are tried out on average."""
    is_new = terms.decisions < policy.new_product_decisions
    share = policy.share * np.where(is_new, policy.new_product_times, 1.0)
    return np.minimum(terms.quota * share, terms.quota)


def _counts_toward_a_group(product: IntArray, limits: Sequence[Limit], products: int) -> BoolArray:
    """Return which pairs count toward a floor that others of their product don't count toward."""
    counts = np.zeros(len(product), np.bool_)
    for limit in limits:
        if limit.is_floor:
            last = np.zeros(products, np.int64)
            last[product] = limit.row
            is_mixed = np.zeros(products, np.bool_)
            is_mixed[product[limit.row != last[product]]] = True
            counts |= is_mixed[product] & (limit.row < len(limit.upper))
    return counts


def _of_pairs(limit: Limit) -> FloatArray:
    """Return what each pair uses of its row."""
    return np.ones(len(limit.row)) if limit.use is None else limit.use


def _affordable(
    product: IntArray, limit: Limit, menu: IntArray, room: FloatArray, most: FloatArray
) -> FloatArray:
    """Return how many trials of each product a limit bears, whichever of the menu are drawn.

    Where products share a row that does not bear the `most` trials of all of them, each may use an
    equal part of what is left.
    """
    row, use = limit.row[menu], _of_pairs(limit)[menu]
    uses = (row < len(room)) & (use > 0)
    row, product, use = row[uses], product[uses], use[uses]
    dearest = np.zeros(len(room))
    np.maximum.at(dearest, row, use)
    both = np.unique(row * len(most) + product)
    sharing = np.bincount(both // len(most), minlength=len(room))
    wanted = np.bincount(both // len(most), weights=most[both % len(most)], minlength=len(room))
    part = np.floor(room[row] / (dearest[row] * sharing[row]))
    part[wanted[row] * dearest[row] <= room[row]] = np.inf
    trials = np.full(len(most), np.inf)
    np.minimum.at(trials, product, part)
    return np.asarray(np.maximum(trials, 0), np.float64)


def _menu(
    pairs: PairColumns,
    chosen: BoolArray,
    fits: BoolArray,
    surplus: FloatArray,
    most_offers: int,
    policy: Exploration,
) -> IntArray:
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
    is_near = fits & (room[pairs.lead] > 0) & (surplus >= -policy.near_best * best[pairs.lead])
    is_near &= ~np.isin(visited, visited[chosen])
    near = np.flatnonzero(is_near)
    order = near[np.lexsort((pairs.product[near], -surplus[near], visited[near]))]
    once = order[np.flatnonzero(np.diff(visited[order], prepend=-1))]
    order = once[np.lexsort((pairs.product[once], -surplus[once], pairs.lead[once]))]
    lead = pairs.lead[order]
    place = np.arange(len(order)) - np.searchsorted(lead, lead)
    return order[place < room[lead]]


def _lots(pairs: PairColumns, rows: IntArray) -> IntArray:
    """Return a number for each pair, drawn from its lottery but unlike it (splitmix64)."""
    mixed = pairs.tie_break_key[rows].astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1), np.int64)


def _place_within(group: IntArray, *by: IntArray | FloatArray) -> IntArray:
    """Return the place of each row within its group, from 0, in the order of `by`, last first."""
    order = np.lexsort((*by, group))
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    return place


def _behind(
    pairs: PairColumns, chosen: BoolArray, surplus: FloatArray, quota: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the planned rows, and how many trials of its product each stands before it gives way.

    Those of least surplus give way first; a product's free places are filled before.
    """
    planned = np.flatnonzero(chosen)
    product = pairs.product[planned]
    least_last = (pairs.lead[planned], pairs.tie_break_key[planned], -surplus[planned])
    return planned, quota[product] - 1 - _place_within(product, *least_last)
