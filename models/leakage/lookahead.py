"""Does a history look ahead? A column that is one for all leads of an institution on a day.

Such a rate or count of what happened before follows the outcomes of the days before it. One that
was gathered over later days as well follows those of the days after it, too. Each column is
compared with both, within its institution, product or channel, less what the day had in common.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from expectations import policy
from models.leakage.columns import Column
from models.leakage.univariate import Trial
from pipelines.core.arrays import FloatArray, IntArray

WINDOWS = (7, 28)
"""Days after (the lead's own included) and before that are compared."""
LEAST_DAYS = 8
"""Of an institution, with outcomes before and after and another value now and then."""
LEAST_OWNERS = 15
"""Institutions whose difference is told from chance by how much they differ among each other."""
STANDS_STILL = 1e-12
"""Sum of squares up to which a column doesn't move; more than rounding leaves of a constant."""
RESTLESS = 0.5
"""Share of its days on which a history has another value: it gathers day by day, as terms don't."""
ALIKE = 0.99
"""Share of an institution's days on which all its rows must have one value."""
LEAST_SHARED = 30
"""Days of an institution with several rows, by which that is judged."""


@dataclass(frozen=True)
class Ledger:
    """The rows of one kind of owner (institution, product, channel), sorted by owner and day."""

    order: IntArray
    owner: IntArray
    """Of each day of an owner, which one it is, from 0."""
    day: IntArray
    starts: IntArray
    rows: IntArray
    outcomes: FloatArray
    """Sum over the day's rows of how the outcome differs from its owner's mean, and the day's."""

    def of_days(self, values: FloatArray) -> FloatArray | None:
        """Return one value for each owner and day; None: it isn't one for all rows of a day."""
        ordered = values[self.order]
        low, high = (f.reduceat(ordered, self.starts) for f in (np.minimum, np.maximum))
        shared = self.rows > 1
        if shared.sum() < LEAST_SHARED or (low == high)[shared].mean() < ALIKE:
            return None
        return np.where(low == high, low, np.nan)

    def share_moving(self, history: FloatArray) -> float:
        """Return the share of days on which an owner's value isn't that of its day before."""
        same_owner = np.diff(self.owner) == 0
        return float((np.diff(history) != 0)[same_owner].mean()) if same_owner.any() else 0.0

    @cached_property
    def around(self) -> list[tuple[FloatArray, FloatArray]]:
        """Mean outcome on the days before and after each day of an owner, for each window."""
        return [(self._mean(-window, -1), self._mean(0, window - 1)) for window in WINDOWS]

    def _mean(self, first: int, last: int) -> FloatArray:
        """Return the mean outcome of the rows from `first` to `last` days off; nan: no rows."""
        span = int(self.day.max()) + 4 * max(WINDOWS)
        place = self.owner * span + self.day + 2 * max(WINDOWS)
        ends = [np.searchsorted(place, place + first), np.searchsorted(place, place + last + 1)]
        total, rows = (np.append(0, np.cumsum(part)) for part in (self.outcomes, self.rows))
        count = rows[ends[1]] - rows[ends[0]]
        unknown = np.full(len(place), np.nan)
        sums = total[ends[1]] - total[ends[0]]
        return np.asarray(np.divide(sums, count, out=unknown, where=count > 0))


def ledger(owner: IntArray, day: IntArray, happened: FloatArray) -> Ledger:
    """Return the ledger of rows with their owner (from 0), day (from 0) and outcome."""
    apart = happened - _mean_of(owner, happened)
    apart -= _mean_of(day, apart)
    order = np.lexsort((day, owner))
    owner, day = owner[order], day[order]
    starts = np.flatnonzero(np.append(True, (np.diff(owner) != 0) | (np.diff(day) != 0)))
    rows = np.diff(np.append(starts, len(order)))
    sums = np.add.reduceat(apart[order], starts)
    return Ledger(order, owner[starts], day[starts], starts, rows, sums)


def ahead(columns: Iterable[Column], ledgers: list[Ledger]) -> Iterator[Trial]:
    """Yield for each column that is a history by how much more it follows what came after it."""
    for column in columns:
        if (numbers := column.numbers) is None or column.days is not None:
            continue
        found = [
            trial
            for one in ledgers
            if (history := one.of_days(numbers)) is not None
            for before, after in one.around
            for trial in _compared(column.name, one, history, before, after)
        ]
        if found:
            yield max(found, key=lambda trial: (trial.is_leak, trial.figure))


def _compared(
    name: str, one: Ledger, history: FloatArray, before: FloatArray, after: FloatArray
) -> Iterator[Trial]:
    if one.share_moving(history) < RESTLESS:
        return
    known = ~np.isnan(history) & ~np.isnan(before) & ~np.isnan(after)
    owner = one.owner[known]
    moved = history[known] - _mean_of(one.day[known], history[known])
    with_after, with_before = (_correlations(owner, moved, side[known]) for side in (after, before))
    both = ~np.isnan(with_after) & ~np.isnan(with_before)
    differences = (with_after - with_before)[both]
    if len(differences) < LEAST_OWNERS:
        return
    limits = policy.leaks()
    figure = float(differences.mean())
    doubt = limits.deviations * float(differences.std(ddof=1)) / np.sqrt(len(differences))
    is_leak = figure - doubt > limits.limits.ahead
    words = (
        f"it follows the outcomes of the days after it (correlation {with_after[both].mean():.2f}) "
        f"more than those of the days before ({with_before[both].mean():.2f})"
    )
    yield Trial(name, "ahead", figure, limits.limits.ahead, is_leak, words)


def _correlations(owner: IntArray, one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the correlation within each owner; nan: too few days, or one of both stands still."""
    if not len(owner):
        return np.empty(0)
    first, second = one - _mean_of(owner, one), other - _mean_of(owner, other)
    days = np.bincount(owner)
    products = np.bincount(owner, weights=first * second)
    sizes = [np.bincount(owner, weights=part**2) for part in (first, second)]
    moves = (days >= LEAST_DAYS) & (np.minimum(*sizes) > STANDS_STILL)
    unknown = np.full(len(days), np.nan)
    return np.asarray(np.divide(products, np.sqrt(sizes[0] * sizes[1]), out=unknown, where=moves))


def _mean_of(groups: IntArray, values: FloatArray) -> FloatArray:
    count = np.bincount(groups)
    return (np.bincount(groups, weights=values) / np.maximum(count, 1))[groups]
