"""The look-ahead test: a history that uses outcomes from after the lead's day.

A history is a column with one value for all leads of an entity (institution, product or channel)
on a day, such as an approval rate. A history of past outcomes correlates with the outcomes of the
days before it. One computed over later days as well also correlates with later outcomes. Each
column is compared with both, within its entity, less the mean of all entities on the day.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from expectations import policy
from models.leakage.columns import Column
from models.leakage.univariate import LeakTestResult
from pipelines.core.arrays import FloatArray, IntArray

WINDOWS = (7, 28)
"""Days before, and days from the lead's own on, that are compared."""
MIN_DAYS = 8
"""Days of an entity with outcomes before and after."""
MIN_ENTITIES = 15
"""Entities by whose variation the difference is tested."""
CONSTANT = 1e-12
"""Sum of squares up to which a column is constant; more than rounding leaves."""
MIN_CHANGE_SHARE = 0.5
"""Share of days on which a history changes: it accumulates daily, as loan terms do not."""
MIN_UNIFORM_SHARE = 0.99
"""Share of an entity's days on which all its rows must have one value."""
MIN_SHARED_DAYS = 30
"""Days of an entity with several rows, on which that share is measured."""


@dataclass(frozen=True)
class EntityDays:
    """The rows of one kind of entity (institution, product, channel), by entity and day."""

    order: IntArray
    """Rows sorted by entity and day."""
    entity: IntArray
    """Entity of each entity-day, from 0."""
    day: IntArray
    starts: IntArray
    rows: IntArray
    outcomes: FloatArray
    """Sum over the rows of an entity-day of the outcome less its entity's mean and the day's."""

    def aggregate(self, values: FloatArray) -> FloatArray | None:
        """Return one value per entity-day; None if the rows of a day have different values."""
        ordered = values[self.order]
        low, high = (f.reduceat(ordered, self.starts) for f in (np.minimum, np.maximum))
        shared = self.rows > 1
        if shared.sum() < MIN_SHARED_DAYS or (low == high)[shared].mean() < MIN_UNIFORM_SHARE:
            return None
        return np.where(low == high, low, np.nan)

    def change_share(self, history: FloatArray) -> float:
        """Return the share of days on which an entity's value differs from its previous day."""
        same_entity = np.diff(self.entity) == 0
        return float((np.diff(history) != 0)[same_entity].mean()) if same_entity.any() else 0.0

    @cached_property
    def outcomes_around(self) -> list[tuple[FloatArray, FloatArray]]:
        """Mean outcome on the days before and after each entity-day, for each window."""
        return [(self._mean(-window, -1), self._mean(0, window - 1)) for window in WINDOWS]

    def _mean(self, first: int, last: int) -> FloatArray:
        """Return the mean outcome of the rows `first` to `last` days away; nan: no rows."""
        span = int(self.day.max()) + 4 * max(WINDOWS)
        key = self.entity * span + self.day + 2 * max(WINDOWS)
        ends = [np.searchsorted(key, key + first), np.searchsorted(key, key + last + 1)]
        total, rows = (np.append(0, np.cumsum(part)) for part in (self.outcomes, self.rows))
        count = rows[ends[1]] - rows[ends[0]]
        unknown = np.full(len(key), np.nan)
        sums = total[ends[1]] - total[ends[0]]
        return np.asarray(np.divide(sums, count, out=unknown, where=count > 0))


def group_by_entity_day(entity: IntArray, day: IntArray, outcome: FloatArray) -> EntityDays:
    """Return the entity-days of rows with their entity (from 0), day (from 0) and outcome."""
    residual = outcome - _group_means(entity, outcome)
    residual -= _group_means(day, residual)
    order = np.lexsort((day, entity))
    entity, day = entity[order], day[order]
    starts = np.flatnonzero(np.append(True, (np.diff(entity) != 0) | (np.diff(day) != 0)))
    rows = np.diff(np.append(starts, len(order)))
    sums = np.add.reduceat(residual[order], starts)
    return EntityDays(order, entity[starts], day[starts], starts, rows, sums)


def run_lookahead_test(
    columns: Iterable[Column], entity_days: list[EntityDays]
) -> Iterator[LeakTestResult]:
    """Yield the test `look_ahead` of each column that is a history."""
    for column in columns:
        if (numbers := column.numbers) is None or column.days is not None:
            continue
        results = [
            result
            for days in entity_days
            if (history := days.aggregate(numbers)) is not None
            for before, after in days.outcomes_around
            for result in _compare(column.name, days, history, before, after)
        ]
        if results:
            yield max(results, key=lambda result: (result.is_leak, result.value))


def _compare(
    name: str, days: EntityDays, history: FloatArray, before: FloatArray, after: FloatArray
) -> Iterator[LeakTestResult]:
    if days.change_share(history) < MIN_CHANGE_SHARE:
        return
    known = ~np.isnan(history) & ~np.isnan(before) & ~np.isnan(after)
    entity = days.entity[known]
    residual = history[known] - _group_means(days.day[known], history[known])
    with_after, with_before = (
        _correlate_within(entity, residual, side[known]) for side in (after, before)
    )
    both = ~np.isnan(with_after) & ~np.isnan(with_before)
    differences = (with_after - with_before)[both]
    if len(differences) < MIN_ENTITIES:
        return
    rules = policy.leaks()
    value, limit = float(differences.mean()), rules.limits.look_ahead
    standard_error = float(differences.std(ddof=1)) / np.sqrt(len(differences))
    is_leak = value - rules.deviations * standard_error > limit
    description = (
        "its correlation with the outcomes of the days after it is "
        f"{with_after[both].mean():.2f}, with outcomes of the days before "
        f"{with_before[both].mean():.2f}"
    )
    yield LeakTestResult(name, "look_ahead", value, limit, is_leak, description)


def _correlate_within(entity: IntArray, one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the correlation within each entity; nan: too few days, or one of both is constant."""
    if not len(entity):
        return np.empty(0)
    first, second = one - _group_means(entity, one), other - _group_means(entity, other)
    days = np.bincount(entity)
    products = np.bincount(entity, weights=first * second)
    squares = [np.bincount(entity, weights=part**2) for part in (first, second)]
    varies = (days >= MIN_DAYS) & (np.minimum(*squares) > CONSTANT)
    unknown = np.full(len(days), np.nan)
    return np.asarray(
        np.divide(products, np.sqrt(squares[0] * squares[1]), out=unknown, where=varies)
    )


def _group_means(groups: IntArray, values: FloatArray) -> FloatArray:
    count = np.bincount(groups)
    return (np.bincount(groups, weights=values) / np.maximum(count, 1))[groups]
