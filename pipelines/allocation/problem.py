"""The arrays of an allocation problem: pairs as columns, and linear limits over them.

A limit is a family of rows, and a pair lies in at most one row of a family:

    sum over the chosen pairs of a row of use   <= upper     (quota, budget, pacing, exposure)
    sum over the chosen pairs of a row of use   <= 0         (ratio: use of either sign)
    sum over the chosen pairs of a row of 1     >= least     (floor in leads)
    sum over the chosen pairs of a row of money >= least     (floor in money)

A floor is the first kind with use = -1 or -money and upper = -least. It may be missed; the
shortfall is reported. All other rows hold in every plan. Their upper limit is at least 0, so that
the empty plan satisfies them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.errors import IntegrityError

HUNDREDTHS = 100
"""Spend is summed in whole hundredths, rounded up, so that sums are exact in any order."""

INTEGER_TOLERANCE = 1e-9
"""A number this close to an integer counts as one: 300.00 / 0.1 must be 3000."""

RATIO_BITS = 30
"""The largest use of a ratio row has at most this many bits: a rounding error of 1e-9."""
EXACT_BITS = 52
"""Sums of integers below 2 to this power are exact in floating point."""
RATIO_TOLERANCE = 0.01
"""A use of a ratio row this close to an integer counts as one: 1e-11 of the largest use."""


@dataclass(frozen=True)
class PairColumns:
    """Eligible pairs as columns of equal length; one row per (lead, product).

    `lead`, `institution` and `product` are codes 0, 1, 2 …; an institution owns whole products.
    Where several leads share the offers of one (two persons with one phone), `lead` is the code of
    the one whose offers they share, and `sharing_lead` tells them apart: a product may then have a
    pair with each of them, of which a plan has one at most.
    `value` is money, above 0. `tie_break_key` (0 <= key < 2**32) decides between plans of equal
    value: the greater sum of keys wins. With a key drawn from each pair's own identifiers, neither
    the order of rows nor the solver's version decides between equal leads.
    """

    lead: IntArray
    institution: IntArray
    product: IntArray
    value: FloatArray
    tie_break_key: IntArray
    sharing_lead: IntArray | None = None

    @property
    def own_lead(self) -> IntArray:
        """Return the code of each pair's lead itself, also where leads share the offers of one."""
        return self.lead if self.sharing_lead is None else self.sharing_lead

    @property
    def lead_institution(self) -> IntArray:
        """Return a code for each (lead, institution)."""
        return self.lead * (int(self.institution.max(initial=0)) + 1) + self.institution

    def take(self, rows: IntArray) -> "PairColumns":
        """Return the given rows, in that order."""
        return PairColumns(
            lead=self.lead[rows],
            institution=self.institution[rows],
            product=self.product[rows],
            value=self.value[rows],
            tie_break_key=self.tie_break_key[rows],
            sharing_lead=None if self.sharing_lead is None else self.sharing_lead[rows],
        )


def find_sort_order(pairs: PairColumns) -> IntArray | None:
    """Return the row order by lead, institution and product; None if the rows are sorted.

    Raises:
        IntegrityError: A pair occurs twice, or its value isn't above 0.
    """
    products = int(pairs.product.max(initial=-1)) + 1
    key = pairs.lead_institution * products + pairs.product
    if (np.diff(key) > 0).all():
        order, duplicates = None, 0
    else:
        order = np.argsort(key) if pairs.sharing_lead is None else np.lexsort((pairs.own_lead, key))
        is_same_lead = np.diff(pairs.own_lead[order]) == 0
        duplicates = int(((np.diff(key[order]) == 0) & is_same_lead).sum())
    if duplicates:
        raise IntegrityError(f"{duplicates:,} pairs of lead and product occur twice")
    is_invalid = ~(np.isfinite(pairs.value) & (pairs.value > 0))
    if is_invalid.any():
        raise IntegrityError(
            f"{int(is_invalid.sum()):,} of {len(is_invalid):,} pairs have no value above 0"
        )
    return order


@dataclass(frozen=True)
class Limit:
    """One family of constraints of one kind."""

    name: str
    row: IntArray
    """Row of the family that each pair lies in; `len(upper)`: none."""
    upper: FloatArray
    """Largest total use of each row, in integer units; infinite: unlimited. Below 0: a floor."""
    use: FloatArray | None = None
    """Use of its row by each pair, in integer units; None: 1 each."""
    units: float | FloatArray = 1.0
    """Integer units in one unit of the limit: 100 where money is counted in hundredths. By row
    where the rows differ."""

    @property
    def is_floor(self) -> bool:
        """Return whether the family sets a least number of leads, or a least sum of money."""
        return self.name.startswith("floor")

    @property
    def is_money_floor(self) -> bool:
        """Return whether the family sets a least sum of money."""
        return self.is_floor and bool(np.all(self.units == HUNDREDTHS))

    def take(self, rows: IntArray) -> "Limit":
        """Return the limit for the given pairs, in that order."""
        use = None if self.use is None else self.use[rows]
        return replace(self, row=self.row[rows], use=use)

    def total_use(self, rows: IntArray) -> FloatArray:
        """Return the use of each row by the given pairs; integers, so exact in any order."""
        use = None if self.use is None else self.use[rows]
        count = len(self.upper)
        total = np.bincount(self.row[rows], weights=use, minlength=count + 1)[:count]
        return np.asarray(total, np.float64)

    def pair_use(self, rows: IntArray) -> FloatArray:
        """Return the use of its row by each of the given pairs; 0 for a pair in no row."""
        is_inside = self.row[rows] < len(self.upper)
        return is_inside * (np.ones(len(rows)) if self.use is None else self.use[rows])

    def least_use(self) -> FloatArray:
        """Return the sum of the negative uses of each row: no plan uses less."""
        count = len(self.upper)
        if self.use is None:
            return np.zeros(count)
        least = np.bincount(self.row, weights=np.minimum(self.use, 0), minlength=count + 1)
        return np.asarray(least[:count], np.float64)

    def count_violations(self, rows: IntArray) -> int:
        """Return the number of violated rows; a missed floor is no violation."""
        return 0 if self.is_floor else int((self.total_use(rows) > self.upper).sum())

    def is_satisfied(self, rows: IntArray) -> bool:
        """Return whether the given pairs violate no row and miss no floor."""
        return bool((self.total_use(rows) <= self.upper).all())

    def shortfall(self, rows: IntArray) -> FloatArray:
        """Return the integer units (leads, hundredths of money) by which each floor is missed."""
        return np.maximum(self.total_use(rows) - self.upper, 0)


def find_possible_pairs(pairs: int, limits: Sequence[Limit]) -> BoolArray:
    """Return which of the pairs fit into each row, alone or with all negative uses of the row.

    No plan has any of the others.
    """
    is_possible = np.ones(pairs, np.bool_)
    for limit in limits:
        if not limit.is_floor:
            use = 1 if limit.use is None else np.maximum(limit.use, 0)
            is_possible &= np.append(limit.upper - limit.least_use(), np.inf)[limit.row] >= use
    return is_possible


def build_quota_limit(product: IntArray, quota: IntArray) -> Limit:
    """Return the limit on leads a day by product."""
    return Limit("quota", product, quota.astype(np.float64))


def build_budget_limit(product: IntArray, spend: FloatArray, budget: FloatArray) -> Limit:
    """Return the limit on expected spend a day by product.

    Args:
        product: Product code of each pair.
        spend: Expected spend of each pair in the product's currency, >= 0.
        budget: Largest spend a day by product code, same currency; NaN: unlimited.
    """
    upper = np.where(np.isfinite(budget), np.floor(budget * HUNDREDTHS + INTEGER_TOLERANCE), np.inf)
    use = np.ceil(spend * HUNDREDTHS - INTEGER_TOLERANCE)
    return Limit("budget", product, upper, use=use, units=HUNDREDTHS)


def build_share_limit(
    name: str,
    product: IntArray,
    group: IntArray,
    groups: int,
    *,
    share: float | FloatArray,
    quota: IntArray,
) -> Limit:
    """Return the limit on each group's share of a product: at most `share` x quota leads.

    The share refers to the quota and not to the leads matched, so that the row stays linear and its
    upper limit is known before the day. At least one lead of each group is allowed.

    Args:
        name: Name of the kind of limit.
        product: Product code of each pair.
        group: Group of the pair's lead (its channel, say); -1: none.
        groups: Number of groups.
        share: Largest share, above 0: one for all, or by (product, group); NaN: unlimited.
        quota: Leads a day by product code.
    """
    share_of_quota = np.broadcast_to(share, (len(quota), groups)) * quota[:, None]
    upper = np.maximum(1, np.floor(share_of_quota + INTEGER_TOLERANCE)).reshape(-1)
    row = np.where(group >= 0, product * groups + group, len(upper))
    return Limit(name, row, np.where(np.isnan(upper), np.inf, upper))


def build_floor_limit(name: str, owner: IntArray, least: IntArray) -> Limit:
    """Return the least number of leads by owner.

    Args:
        name: Name of the kind of owner.
        owner: Owner of each pair (a product, an institution, a group of leads); -1: none.
        least: Leads a day by owner; 0: no floor.
    """
    has_floor = (owner >= 0) & (least[owner] > 0)
    row = np.where(has_floor, owner, len(least))
    return Limit(f"floor_{name}", row, -least.astype(np.float64), use=-np.ones(len(row)))


def build_money_floor(name: str, money: FloatArray, least: float) -> Limit:
    """Return the least sum of money over all pairs of the plan, a family with one row.

    Args:
        name: Name of the money.
        money: Money that each pair brings; counted in whole hundredths, rounded down.
        least: Least sum, in the same currency.
    """
    return Limit(
        f"floor_{name}",
        np.zeros(len(money), np.int64),
        np.array([-np.ceil(least * HUNDREDTHS - INTEGER_TOLERANCE)]),
        use=-np.floor(money * HUNDREDTHS + INTEGER_TOLERANCE),
        units=HUNDREDTHS,
    )


def build_ratio_limit(
    name: str,
    owner: IntArray,
    numerator: FloatArray,
    denominator: FloatArray,
    ratio: FloatArray,
) -> Limit:
    """Return the limit on a ratio of two sums by owner:

        sum over the chosen pairs of (numerator - ratio x denominator) <= 0

    A cost per funded loan has the fee as numerator and the probability of funding as denominator. A
    least approval rate is the same with both signs changed: -probability, -1 and the least rate.

    The uses of a row are integers in units of its own, at most 1e-9 of its largest terms (in a very
    large family 1e-8), rounded up: a plan that holds in integers holds in numbers. A pair exactly
    at the ratio has use 0.

    Args:
        name: Name of the kind of limit.
        owner: Owner of each pair (its product, say); -1: none.
        numerator: Numerator of each pair.
        denominator: Denominator of each pair.
        ratio: Largest ratio by owner; not finite: unlimited.
    """
    is_limited = np.isfinite(ratio)
    row = owner if (owner >= 0).all() else np.where(owner >= 0, owner, len(ratio))
    scaled = np.append(np.where(is_limited, ratio, 0.0), 0.0)[row] * denominator
    largest = np.zeros(len(ratio) + 1)
    np.maximum.at(largest, row, np.abs(numerator) + np.abs(scaled))
    bits = min(RATIO_BITS, EXACT_BITS - len(row).bit_length())
    _, exponent = np.frexp(largest)
    units = np.ldexp(1.0, np.where(largest > 0, bits - exponent, 0))
    use = np.ceil((numerator - scaled) * units[row] - RATIO_TOLERANCE)
    use[~np.append(is_limited, False)[row]] = 0
    return Limit(name, row, np.where(is_limited, 0.0, np.inf), use=use, units=units[:-1])
