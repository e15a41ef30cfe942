"""What a plan must keep besides the offers of a lead: linear limits over columns of pairs.

Each limit is a family of rows, and a pair lies in at most one row of a family:

    sum over the chosen pairs in a row of use <= most        (quota, budget, pacing, exposure)
    sum over the chosen pairs in a row of 1   >= least       (floor)

A floor is the first kind with use = -1 and most = -least, except that it may be missed: by how
much at least is reported.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray

HUNDREDTHS = 100
"""Spend is summed in whole hundredths, rounded up, so that sums are exact in any order."""

WHOLE = 1e-9
"""So much off a whole number counts as whole: 300.00 / 0.1 must be 3000."""


@dataclass(frozen=True)
class Limit:
    """One family of constraints of one kind."""

    name: str
    row: IntArray
    """Which row of the family each pair lies in; `len(most)`: in none."""
    most: FloatArray
    """What each row may use in all, in whole units; infinite: no limit. Below 0: a floor."""
    use: FloatArray | None = None
    """What each pair uses of its row, in whole units; None: 1 each."""
    units: float = 1.0
    """Whole units in one unit of what is limited: 100 where money is counted in hundredths."""

    @property
    def is_floor(self) -> bool:
        """Return whether the family asks for a least number of pairs."""
        return self.name.startswith("floor")

    def take(self, rows: IntArray) -> "Limit":
        """Return the limit for the given pairs, in that order."""
        use = None if self.use is None else self.use[rows]
        return replace(self, row=self.row[rows], use=use)

    def used(self, rows: IntArray) -> FloatArray:
        """Return what the given pairs use of each row; whole numbers, so exact in any order."""
        use = None if self.use is None else self.use[rows]
        count = len(self.most)
        used = np.bincount(self.row[rows], weights=use, minlength=count + 1)[:count]
        return np.asarray(used, np.float64)

    def of_pairs(self, rows: IntArray) -> FloatArray:
        """Return what each of the given pairs uses of its row; 0 where it lies in none."""
        inside = self.row[rows] < len(self.most)
        return inside * (np.ones(len(rows)) if self.use is None else self.use[rows])

    def broken(self, rows: IntArray) -> int:
        """Return how many rows the given pairs break; a floor that is missed is not broken."""
        return 0 if self.is_floor else int((self.used(rows) > self.most).sum())

    def is_kept(self, rows: IntArray) -> bool:
        """Return whether the given pairs break no row and miss no floor."""
        return bool((self.used(rows) <= self.most).all())

    def shortfall(self, rows: IntArray) -> FloatArray:
        """Return by how many pairs each row of a floor is missed."""
        return np.maximum(self.used(rows) - self.most, 0)


def quotas(product: IntArray, quota: IntArray) -> Limit:
    """Return the limit of leads a day by product."""
    return Limit("quota", product, quota.astype(np.float64))


def budgets(product: IntArray, spend: FloatArray, budget: FloatArray) -> Limit:
    """Return the limit of money a day by product.

    Args:
        product: Product code of each pair.
        spend: Expected spend of each pair in the product's currency, >= 0.
        budget: Most money a day by product code, same currency; NaN: no limit.
    """
    most = np.where(np.isfinite(budget), np.floor(budget * HUNDREDTHS + WHOLE), np.inf)
    use = np.ceil(spend * HUNDREDTHS - WHOLE)
    return Limit("budget", product, most, use=use, units=HUNDREDTHS)


def shares(
    name: str,
    product: IntArray,
    group: IntArray,
    groups: int,
    *,
    share: float | FloatArray,
    quota: IntArray,
) -> Limit:
    """Return the limit of each group's share in a product: at most `share` x quota of its leads.

    The share is one of the quota and not of the leads made, so that it stays linear and a product
    knows its numbers before the day; at least one lead of each group is allowed.

    Args:
        name: Of the kind of limit.
        product: Product code of each pair.
        group: Group of the pair's lead (its channel, say); -1: in none.
        groups: How many groups there are.
        share: Largest share, above 0: one for all, or by (product, group); NaN: no limit.
        quota: Leads a day by product code.
    """
    of_quota = np.broadcast_to(share, (len(quota), groups)) * quota[:, None]
    most = np.maximum(1, np.floor(of_quota + WHOLE)).reshape(-1)
    row = np.where(group >= 0, product * groups + group, len(most))
    return Limit(name, row, np.where(np.isnan(most), np.inf, most))


def floors(name: str, owner: IntArray, least: IntArray) -> Limit:
    """Return the promise of a least number of leads by owner.

    Args:
        name: Of the kind of owner.
        owner: Owner of each pair (a product, an institution, a group of leads); -1: none.
        least: Leads a day by owner; 0: nothing is promised.
    """
    is_promised = (owner >= 0) & (least[owner] > 0)
    row = np.where(is_promised, owner, len(least))
    return Limit(f"floor_{name}", row, -least.astype(np.float64), use=-np.ones(len(row)))
