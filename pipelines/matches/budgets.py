"""The budget of a product that pays per lead, as a quota: every match costs it the same.

That of the others is an expectation that differs by lead; see `constraints.budgets`.
"""

import numpy as np

from pipelines.allocation.problem import INTEGER_TOLERANCE
from pipelines.core.arrays import BoolArray, FloatArray, IntArray


def affordable_quota(
    quota: IntArray, budget: FloatArray, price: FloatArray, is_per_lead: BoolArray
) -> IntArray:
    """Return the leads a day that each product can take and, paying per lead, can afford.

    Args:
        quota: Most leads a day.
        budget: Most money a day, in the product's currency; NaN where there is no limit.
        price: Of one lead where `is_per_lead`, in the same currency.
        is_per_lead: Whether the product pays per lead.
    """
    is_bound = is_per_lead & np.isfinite(budget) & (price > 0)
    affordable = np.full(len(quota), np.inf)
    affordable[is_bound] = np.floor(budget[is_bound] / price[is_bound] + INTEGER_TOLERANCE)
    return np.asarray(np.minimum(quota, affordable), dtype=np.int64)
