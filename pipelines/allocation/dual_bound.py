"""The proof of a plan: a bound that is computed from the pairs and the prices alone.

At *any* prices p >= 0 of the constraints the Lagrangian

    sum over constraints of most x price
    + sum over leads of the K best (worth - sum of use x price), one per institution, where positive

is at least the worth of every plan that keeps the constraints. Nothing here is shared with the
search for the prices, so the bound also catches an error of the solver.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pipelines.allocation.constraints import Limit
from pipelines.core.arrays import FloatArray, IntArray

CHUNK = 1 << 18
"""Groups of lead and institution that are ranked at once."""


def lagrangian_bound(
    lead: IntArray,
    institution: IntArray,
    worth: FloatArray,
    limits: Sequence[Limit],
    prices: Sequence[FloatArray],
    most_offers: int,
) -> float:
    """Return the bound at `prices`, in units of worth; each lead's part is rounded up.

    Args:
        lead: Lead code of each pair; pairs are sorted by lead and institution.
        institution: Institution code of each pair.
        worth: Of each pair.
        limits: The constraints.
        prices: One array by limit, one price by row, >= 0.
        most_offers: Most pairs of one lead.
    """
    surplus = worth.astype(np.float64)
    paid = 0.0
    for limit, price in zip(limits, prices, strict=True):
        of_pair = np.append(price, 0.0)[limit.row]
        surplus -= of_pair if limit.use is None else of_pair * limit.use
        is_priced = price > 0
        paid += math.fsum((limit.most[is_priced] * price[is_priced]).tolist())
    if len(lead) == 0:
        return paid
    is_first = (np.diff(lead, prepend=-1) != 0) | (np.diff(institution, prepend=-1) != 0)
    first = np.flatnonzero(is_first)
    best = np.maximum.reduceat(surplus, first)
    return paid + _taken(lead[first], best, most_offers)


def _taken(lead: IntArray, best: FloatArray, most_offers: int) -> int:
    """Return the sum of each lead's `most_offers` best, where positive, rounded up."""
    gains = np.flatnonzero(best > 0)
    lead, best = lead[gains], best[gains]
    start = np.flatnonzero(np.diff(lead, prepend=-1))
    bounds = [*start[:: max(1, CHUNK // 16)], len(lead)]
    total = 0
    for begin, end in pairwise(bounds):
        row = np.cumsum(np.diff(lead[begin:end], prepend=-1) != 0) - 1
        place = np.arange(end - begin) - np.searchsorted(row, row)
        ranked = np.zeros((int(row[-1]) + 1, max(int(place.max()) + 1, most_offers)))
        ranked[row, place] = best[begin:end]
        ranked = -np.partition(-ranked, most_offers - 1, axis=1)[:, :most_offers]
        total += int(np.ceil(ranked).sum())
    return total
