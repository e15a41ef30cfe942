"""The pairs that a plan is chosen from, as columns."""

from dataclasses import dataclass

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.errors import Broken


@dataclass(frozen=True)
class Candidates:
    """Eligible pairs as columns of equal length; one row per (lead, product).

    `lead`, `institution` and `product` are codes 0, 1, 2 …; an institution owns whole products.
    `value` is money, above 0. `lottery` (0 <= number < 2**32) decides between equal plans: the
    greater sum wins. Give each pair a number drawn from its own key, and neither the order of
    rows nor the solver's version decides who goes first.
    """

    lead: IntArray
    institution: IntArray
    product: IntArray
    value: FloatArray
    lottery: IntArray

    def take(self, rows: IntArray) -> "Candidates":
        """Return the given rows, in that order."""
        return Candidates(
            lead=self.lead[rows],
            institution=self.institution[rows],
            product=self.product[rows],
            value=self.value[rows],
            lottery=self.lottery[rows],
        )


def in_order(candidates: Candidates) -> IntArray | None:
    """Return the rows sorted by lead, institution and product; None where they are already.

    Raises:
        Broken: A pair is there twice, or its value isn't above 0.
    """
    institutions = int(candidates.institution.max(initial=-1)) + 1
    products = int(candidates.product.max(initial=-1)) + 1
    key = (candidates.lead * institutions + candidates.institution) * products + candidates.product
    rises = np.diff(key) > 0
    order = None if rises.all() else np.argsort(key)
    again = 0 if order is None else int((np.diff(key[order]) == 0).sum())
    if again:
        raise Broken(f"{again:,} pairs of lead and product are there twice")
    unfit = ~(np.isfinite(candidates.value) & (candidates.value > 0))
    if unfit.any():
        raise Broken(f"{int(unfit.sum()):,} of {len(unfit):,} pairs have no value above 0")
    return order
