"""What places at products will cost, guessed before anything is planned.

Where quotas bind, a lead is not sent where it is worth most but where it is worth most after the
price of the place. The price of product j's quota is what its last place brings there beyond what
the lead of it would bring elsewhere:

    p_j = the q_j-th largest of (value_ij - u_ij), not below 0

with u_ij the value after prices of the offer that lead i would give up for it: its K-th best, or
the one after that if j is among the best K. Each p_j so set minimises the dual of the plan in its
own coordinate; repeated for all at once, half a step each, they settle near the plan's prices. That
a lead takes one offer per institution is left out.
"""

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray

ROUNDS = 30
"""Half steps; after so many, prices move by less than what rates can tell."""


def asking_prices(
    lead: IntArray, product: IntArray, value: FloatArray, quota: FloatArray, most_offers: int
) -> FloatArray:
    """Return about what each product's quota will cost.

    Args:
        lead: Of each pair.
        product: Of each pair; codes 0, 1, 2 …
        value: Of each pair.
        quota: Places by product, for these leads; may be fractions where leads stand for others.
        most_offers: K, the most offers of a lead.
    """
    prices = np.zeros(len(quota))
    places = np.floor(quota).astype(np.int64)
    for _ in range(ROUNDS):
        worth = value - prices[product]
        _, given_up = marginal_offers(lead, worth, most_offers)
        asked = value - given_up
        order = np.lexsort((-asked, product))
        ends = np.searchsorted(product[order], np.arange(len(quota) + 1))
        last = ends[:-1] + places
        is_full = last < ends[1:]
        found = np.zeros(len(quota))
        found[is_full] = np.maximum(asked[order][last[is_full]], 0.0)
        prices = (prices + found) / 2
    return prices


def marginal_offers(
    lead: IntArray, worth: FloatArray, most_offers: int
) -> tuple[IntArray, FloatArray]:
    """Return each pair's place among its lead's (from 0), and what the lead gives up for it.

    That is its K-th best offer, or the one after that for the K best themselves; nothing where the
    lead has room left, or no offer that is worth anything.
    """
    order = np.lexsort((-worth, lead))
    ranked, sorted_lead = worth[order], lead[order]
    starts = np.searchsorted(sorted_lead, sorted_lead)
    ends = np.searchsorted(sorted_lead, sorted_lead, side="right")
    place = np.arange(len(lead)) - starts
    rival = starts + np.where(place < most_offers, most_offers, most_offers - 1)
    is_there = rival < ends
    given_up = np.zeros(len(lead))
    given_up[is_there] = np.maximum(ranked[rival[is_there]], 0.0)
    places, lost = np.empty_like(place), np.empty_like(given_up)
    places[order], lost[order] = place, given_up
    return places, lost
