"""Draw a few near-best pairs at random beside the plan, so that the models can learn.

A plan that always follows the models never finds out where they are wrong. So a share of each
product's quota is filled by exploration. For each product j

    x(j)      expected number of explored pairs: the share of its quota
    menu(j)   near-best pairs that the plan left out, of leads with capacity for one more offer and
              within every limit; the best of them, a fixed number for each unit of x(j)
    c(j)      number drawn: x(j) rounded up with the probability of its fraction, else down; at most
              half of the menu, and within every limit even if the pairs of largest use are drawn
    drawn     c(j) pairs of the menu: a simple random sample without replacement

so the propensity of a pair of the menu is exactly E[c(j)] / |menu(j)| (Cochran 1977, Sampling
Techniques, ch. 2). If a product has no quota left, its planned matches of least surplus are
displaced: a match that is displaced only if x(j) is rounded up has the propensity that it is
rounded down, and a match that is displaced in any case has 0. All other planned matches have 1.

A lead is in the menus of no more products than it has capacity for, each of another institution. A
planned match is displaced by a pair of its own product only, and never if it counts toward a floor
of a group of leads. So any draw satisfies every limit of leads, institutions, products and money,
and every floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from expectations.policy_types import Exploration
from pipelines.allocation.problem import INTEGER_TOLERANCE, Limit, PairColumns
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

MIN_MENU = 2
"""Least number of pairs in the menu per pair drawn: a certain draw is no exploration."""

KEY_RANGE = 2**32
"""Tie-break keys and rounding keys are integers below it."""


@dataclass(frozen=True)
class ProductTerms:
    """The terms of exploration of each product; columns by product code."""

    quota: IntArray
    decisions: IntArray
    """Number of its leads whose decision is known."""
    rounding_key: IntArray
    """A random number below `KEY_RANGE` of the day and the product, which rounds x(j)."""


@dataclass(frozen=True)
class ExplorationDraw:
    """The pairs whose match was decided by the draw; columns of equal length."""

    row: IntArray
    """Row number of the pair."""
    is_planned: BoolArray
    """Flag of pairs of the plan; the others are pairs of a menu."""
    propensity: FloatArray
    """Probability that the draw makes the pair a match."""
    is_made: BoolArray
    """Flag of pairs that the draw made a match."""

    @property
    def drawn(self) -> IntArray:
        """Return the row numbers of explored matches."""
        return self.row[~self.is_planned & self.is_made]

    @property
    def displaced(self) -> IntArray:
        """Return the row numbers of planned pairs that were displaced."""
        return self.row[self.is_planned & ~self.is_made]


def draw_exploration(
    pairs: PairColumns,
    chosen: BoolArray,
    *,
    surplus: FloatArray,
    terms: ProductTerms,
    limits: Sequence[Limit] = (),
    max_offers: int,
    policy: Exploration,
) -> ExplorationDraw:
    """Draw the pairs that are explored beside a plan; the same in any order of the rows.

    Args:
        pairs: The pairs of the problem.
        chosen: Flag of the pairs of the plan.
        surplus: Surplus of each pair, as `compute_surplus` returns it.
        terms: The terms of each product.
        limits: The limits of the plan besides the quotas of `terms`, over the same pairs.
        max_offers: Most matches of one lead (K).
        policy: The share that is explored, and the definition of near-best.
    """
    wanted = _compute_expected_number(terms, policy)
    least = np.floor(wanted)
    fractions = np.floor((wanted - least) * KEY_RANGE)
    slacks = [(limit, limit.upper - limit.total_use(np.flatnonzero(chosen))) for limit in limits]
    slacks = [(limit, slack) for limit, slack in slacks if not limit.is_floor]
    is_protected = chosen & _find_floor_pairs(pairs.product, limits, len(wanted))
    quota = terms.quota - np.bincount(pairs.product[is_protected], minlength=len(wanted))
    fits = ~chosen & (wanted[pairs.product] > 0)
    for limit, slack in slacks:
        fits &= ~(_use_or_one(limit) > np.append(slack, np.inf)[limit.row])
    menu = _build_menu(pairs, chosen, fits, surplus, max_offers, policy)
    rank = _rank_within(pairs.product[menu], pairs.lead[menu], -surplus[menu])
    menu_limit = np.maximum(MIN_MENU, policy.max_candidates_per_draw * wanted)
    menu = menu[rank < np.floor(menu_limit + INTEGER_TOLERANCE)[pairs.product[menu]]]
    product = pairs.product[menu]
    menu_size = np.bincount(product, minlength=len(wanted))
    most = np.minimum(np.floor(menu_size / MIN_MENU), quota)
    is_displaceable = chosen & ~is_protected
    for limit, slack in slacks:
        largest = _find_largest_change(limit, menu, is_displaceable)
        np.minimum(most, _count_within_limit(product, limit, menu, largest, slack, most), out=most)
    rounded_down, rounded_up = np.minimum(least, most), np.minimum(least + 1, most)
    number = np.where(terms.rounding_key < fractions, rounded_up, rounded_down)
    expected = rounded_down + (rounded_up - rounded_down) * fractions / KEY_RANGE
    draw_rank = _rank_within(product, pairs.lead[menu], _derive_draw_keys(pairs, menu))
    planned, position = _order_displacement(pairs, is_displaceable, surplus, quota)
    is_affected = (
        position < np.where(fractions > 0, rounded_up, rounded_down)[pairs.product[planned]]
    )
    planned, position = planned[is_affected], position[is_affected]
    owner = pairs.product[planned]
    remains = np.where(position < rounded_down[owner], 0.0, 1 - fractions[owner] / KEY_RANGE)
    return ExplorationDraw(
        row=np.concatenate([menu, planned]),
        is_planned=np.repeat([False, True], [len(menu), len(planned)]),
        propensity=np.concatenate([expected[product] / np.maximum(menu_size, 1)[product], remains]),
        is_made=np.concatenate([draw_rank < number[product], position >= number[owner]]),
    )


def compute_surplus(
    pairs: PairColumns, limits: Sequence[Limit], prices: Mapping[str, FloatArray]
) -> FloatArray:
    """Return the value of each pair less the shadow prices of its use.

    Args:
        pairs: The pairs of the problem.
        limits: The limits of the plan besides quotas.
        prices: Shadow prices by name of the limit, as `Plan.prices`.
    """
    surplus = pairs.value - prices["quota"][pairs.product]
    for limit in limits:
        price = np.append(prices.get(limit.name, np.zeros(len(limit.upper))) / limit.units, 0.0)
        surplus -= price[limit.row] * _use_or_one(limit)
    return surplus


def _compute_expected_number(terms: ProductTerms, policy: Exploration) -> FloatArray:
    """Return the expected number of explored pairs of each product, x(j)."""
    is_new = terms.decisions < policy.new_product_decisions
    share = policy.share * np.where(is_new, policy.new_product_times, 1.0)
    return np.minimum(terms.quota * share, terms.quota)


def _find_floor_pairs(product: IntArray, limits: Sequence[Limit], products: int) -> BoolArray:
    """Return the pairs that count toward a floor that other pairs of their product don't count
    toward."""
    counts = np.zeros(len(product), np.bool_)
    for limit in limits:
        if limit.is_floor:
            last_row = np.zeros(products, np.int64)
            last_row[product] = limit.row
            is_mixed = np.zeros(products, np.bool_)
            is_mixed[product[limit.row != last_row[product]]] = True
            counts |= is_mixed[product] & (limit.row < len(limit.upper))
    return counts


def _use_or_one(limit: Limit) -> FloatArray:
    """Return the use of its row by each pair."""
    return np.ones(len(limit.row)) if limit.use is None else limit.use


def _find_largest_change(limit: Limit, menu: IntArray, is_displaceable: BoolArray) -> FloatArray:
    """Return the most that one explored pair can add to each row of a limit.

    That is the largest use of the menu and, where a displaced pair has a negative use (it makes a
    ratio better), what its leaving adds.
    """
    use = _use_or_one(limit)
    rows = len(limit.upper)
    entering, leaving = np.zeros(rows + 1), np.zeros(rows + 1)
    np.maximum.at(entering, limit.row[menu], use[menu])
    planned = np.flatnonzero(is_displaceable)
    np.maximum.at(leaving, limit.row[planned], -use[planned])
    return np.asarray((entering + leaving)[:-1], np.float64)


def _count_within_limit(
    product: IntArray,
    limit: Limit,
    menu: IntArray,
    largest: FloatArray,
    slack: FloatArray,
    most: FloatArray,
) -> FloatArray:
    """Return the number of explored pairs of each product that a limit allows in any draw.

    If products share a row that has no room for the `most` pairs of all of them, each may use an
    equal part of its slack.
    """
    row = limit.row[menu]
    has_use = np.append(largest, 0.0)[row] > 0
    row, product = row[has_use], product[has_use]
    row_product = np.unique(row * len(most) + product)
    sharing = np.bincount(row_product // len(most), minlength=len(slack))
    wanted = np.bincount(
        row_product // len(most), weights=most[row_product % len(most)], minlength=len(slack)
    )
    part = np.floor(slack[row] / (largest[row] * sharing[row]))
    part[wanted[row] * largest[row] <= slack[row]] = np.inf
    number = np.full(len(most), np.inf)
    np.minimum.at(number, product, part)
    return np.asarray(np.maximum(number, 0), np.float64)


def _build_menu(
    pairs: PairColumns,
    chosen: BoolArray,
    fits: BoolArray,
    surplus: FloatArray,
    max_offers: int,
    policy: Exploration,
) -> IntArray:
    """Return the pairs that can be drawn: near-best, and within the remaining offers of each lead.

    A lead with its most offers has none remaining. Each pair with a surplus of any other lead would
    be planned if its product had quota left, so it is near-best if its surplus is almost 0.
    """
    leads = int(pairs.lead.max(initial=-1)) + 1
    planned = np.bincount(pairs.lead[chosen], minlength=leads)
    remaining = np.minimum(max_offers - planned, policy.max_drawn_per_lead)
    best = np.zeros(leads)
    np.maximum.at(best, pairs.lead, pairs.value)
    group = pairs.lead_institution
    is_near = fits & (remaining[pairs.lead] > 0) & (surplus >= -policy.near_best * best[pairs.lead])
    is_near &= ~np.isin(group, group[chosen])
    near = np.flatnonzero(is_near)
    order = near[np.lexsort((pairs.product[near], -surplus[near], group[near]))]
    once = order[np.flatnonzero(np.diff(group[order], prepend=-1))]
    order = once[np.lexsort((pairs.product[once], -surplus[once], pairs.lead[once]))]
    lead = pairs.lead[order]
    rank = np.arange(len(order)) - np.searchsorted(lead, lead)
    return order[rank < remaining[lead]]


def _derive_draw_keys(pairs: PairColumns, rows: IntArray) -> IntArray:
    """Return a random key of each pair, independent of its tie-break key (splitmix64)."""
    mixed = pairs.tie_break_key[rows].astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1), np.int64)


def _rank_within(group: IntArray, *by: IntArray | FloatArray) -> IntArray:
    """Return the rank of each row within its group, from 0; the last of `by` is the first key."""
    order = np.lexsort((*by, group))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    return rank


def _order_displacement(
    pairs: PairColumns, chosen: BoolArray, surplus: FloatArray, quota: IntArray
) -> tuple[IntArray, IntArray]:
    """Return the planned rows, and for each the most explored pairs that leave it in the plan.

    Matches of least surplus are displaced first, after the remaining quota is used.
    """
    planned = np.flatnonzero(chosen)
    product = pairs.product[planned]
    sort_keys = (pairs.lead[planned], pairs.tie_break_key[planned], -surplus[planned])
    return planned, quota[product] - 1 - _rank_within(product, *sort_keys)
