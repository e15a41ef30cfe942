"""Hand out offers without a plan: each lead in turn takes the best that is left."""

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray


def hand_out(
    lead: IntArray,
    institution: IntArray,
    product: IntArray,
    liking: FloatArray,
    lot: FloatArray,
    quota: IntArray,
    *,
    most_offers: int,
) -> IntArray:
    """Return each pair's rank among its lead's offers, 1 is the first; 0 if it isn't shown.

    In a round every lead asks for the product that it likes best of those still open to it. Where
    more ask than a quota has left, the lowest lots go first. So the limits of a plan hold: at most
    `most_offers` a lead, one an institution, and each product's quota.

    Args:
        lead: Code of each pair's lead, as are `institution` and `product`.
        institution: An institution owns whole products.
        product: At most one pair for each lead and product.
        liking: Greatest first, within a lead; equal ones by `lot`.
        lot: One number for each pair.
        quota: Most leads of each product, by code.
        most_offers: Most offers of one lead.
    """
    rank = np.zeros(lead.size, np.int64)
    offers = np.zeros(int(lead.max(initial=-1)) + 1, np.int64)
    room = quota.copy()
    waiting = np.lexsort((lot, -liking, lead))
    while waiting.size:
        is_first = np.diff(lead[waiting], prepend=-1) != 0
        asks = waiting[is_first]
        asks = asks[np.lexsort((lot[asks], product[asks]))]
        given = asks[_place_in_group(product[asks]) < room[product[asks]]]
        offers[lead[given]] += 1
        rank[given] = offers[lead[given]]
        room -= np.bincount(product[given], minlength=room.size)
        at = np.full(offers.size, -1)
        at[lead[given]] = institution[given]
        waiting = waiting[~is_first]
        waiting = waiting[
            (room[product[waiting]] > 0)
            & (offers[lead[waiting]] < most_offers)
            & (at[lead[waiting]] != institution[waiting])
        ]
    return rank


def ranked(lead: IntArray, liking: FloatArray, shown: BoolArray) -> IntArray:
    """Return the rank of each shown pair within its lead, most liked first; 0 if not shown."""
    rows = np.flatnonzero(shown)
    rows = rows[np.lexsort((rows, -liking[rows], lead[rows]))]
    rank = np.zeros(lead.size, np.int64)
    rank[rows] = _place_in_group(lead[rows]) + 1
    return rank


def _place_in_group(group: IntArray) -> IntArray:
    """Return 0, 1, 2 ... within each run of equal groups."""
    return np.asarray(np.arange(group.size) - np.searchsorted(group, group), np.int64)
