"""What money allows a product to take: its daily budget, as a quota where it can be one.

A product that pays per lead spends the same for every match, so its budget *is* a quota and the
plan stays the best one. Of the others, whose spend is an expectation that differs by lead, the
plan is trimmed afterwards: matches of least value go, until the rest fits. Trimmed places are not
filled again, so the plan may then fall short of its bound; the gap says by how much at most.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.matches.network import Integers

Numbers = NDArray[np.float64]

WHOLE = 1e-9
"""So much off a whole number counts as whole: 300.00 / 0.1 must be 3000."""

HUNDREDTHS = 100
"""Spend is summed in whole hundredths, rounded up, so that sums are exact."""


def affordable_quota(
    quota: Integers, budget: Numbers, price: Numbers, is_per_lead: NDArray[np.bool_]
) -> Integers:
    """Return the leads a day that each product can take and, paying per lead, can afford.

    Args:
        quota: Most leads a day.
        budget: Most money a day, in the product's currency; NaN where there is no limit.
        price: Of one lead where `is_per_lead`, in the same currency.
        is_per_lead: Whether the product pays per lead.
    """
    is_bound = is_per_lead & np.isfinite(budget) & (price > 0)
    affordable = np.full(len(quota), np.inf)
    affordable[is_bound] = np.floor(budget[is_bound] / price[is_bound] + WHOLE)
    return np.asarray(np.minimum(quota, affordable), dtype=np.int64)


def within_budget(
    product: Integers, spend: Numbers, budget: Numbers, order: Integers
) -> NDArray[np.bool_]:
    """Return which matches a product keeps: the most valuable ones whose spend fits together.

    Args:
        product: Product code of each match.
        spend: Expected spend of each match, >= 0.
        budget: Most money a day by product code, in the same currency; NaN: no limit.
        order: The matches as row numbers, most valuable first.
    """
    ranked = order[np.argsort(product[order], kind="stable")]
    of_product = product[ranked]
    cost = np.ceil(spend[ranked] * HUNDREDTHS - WHOLE).astype(np.int64)
    so_far = np.cumsum(cost)
    first = np.searchsorted(of_product, of_product)
    so_far -= so_far[first] - cost[first]
    limit = np.where(np.isfinite(budget), budget, np.inf)[of_product]
    keeps = np.zeros(len(product), np.bool_)
    keeps[ranked] = so_far <= limit * HUNDREDTHS + WHOLE
    return keeps
