"""The ways in which one column may say something: its values, gaps, size, grain, form and place.

A view sorts the rows into groups; how often the outcome happened in a group, learned on other rows,
is all that it says of a row. So numbers, categories, dates and ids are tried alike, and what no
measure of order sees (a term of whole years that means repaid) is seen as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.leakage.columns import Column
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

BINS = 32
"""Groups of about equal size that a number is sorted into."""
GRAINS = (1_000_000, 100_000, 10_000, 1_000, 100, 10, 1, 0.1, 0.01)
"""A number's grain is the first of these that divides it, and whether whole years of months do."""
MONTHS = 12
DIGITS = 10
ROUNDED = 1e-9
"""How far from a whole number a quotient may be by rounding."""
ALL_DIFFER = 0.95
"""Share of neighbours within a day that must differ for a column to number the rows of it."""


@dataclass(frozen=True)
class Views:
    """The views of one column, with the days of the leads (since 1970; None: unknown) beside it."""

    column: Column
    lead_days: FloatArray | None

    @cached_property
    def value(self) -> IntArray:
        """Each value a group of its own; what is missing is one, too."""
        coded = self.column.plain.dictionary_encode()
        codes = np.asarray(coded.indices.fill_null(0).to_numpy(), dtype=np.int64)
        return np.where(self.column.is_missing, len(coded.dictionary), codes)

    def __iter__(self) -> Iterator[tuple[str, IntArray]]:
        """Yield each view by its name; only such as sort the rows into two groups or more."""
        yield from self._telling

    @cached_property
    def _telling(self) -> list[tuple[str, IntArray]]:
        views = list(self._all())
        return [view for view in views if len(view[1]) and view[1].min() != view[1].max()]

    def _all(self) -> Iterator[tuple[str, IntArray]]:
        yield "its value", self.value
        yield "whether it is missing", self.column.is_missing.astype(np.int64)
        numbers = self.column.numbers
        if numbers is None:
            numbers = self.column.serial
            yield "its form", Views(self.column.form, None).value
        if numbers is None:
            return
        yield "its size", binned(numbers)
        yield "its roundness", _grain(numbers)
        yield "its last digit", _last_digit(numbers)
        if self.lead_days is not None:
            if (place := _place(numbers, self.lead_days)) is not None:
                yield "its place within the day", binned(place)
            if self.column.days is not None:
                yield "its distance from the lead's day", binned(numbers - self.lead_days)


def binned(numbers: FloatArray) -> IntArray:
    """Return the group of each number among `BINS` of about equal size; nan is the last group."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return np.zeros(len(numbers), dtype=np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    return _or_missing(
        np.searchsorted(edges, numbers, side="right"), np.isnan(numbers), len(edges) + 1
    )


def _grain(numbers: FloatArray) -> IntArray:
    known = np.nan_to_num(numbers)
    divides = [np.abs(known / grain - np.rint(known / grain)) < ROUNDED for grain in GRAINS]
    first = np.argmax([*divides, np.ones(len(known), dtype=bool)], axis=0)
    codes = 2 * first + (known % MONTHS == 0)
    return _or_missing(codes, np.isnan(numbers), 2 * len(GRAINS) + 2)


def _last_digit(numbers: FloatArray) -> IntArray:
    digit = np.floor(np.abs(np.nan_to_num(numbers))) % DIGITS
    return _or_missing(digit, np.isnan(numbers), DIGITS)


def _place(numbers: FloatArray, days: FloatArray) -> FloatArray | None:
    """Return where each number stands among those of its day, from 0 to 1, as an id tells it.

    None where numbers repeat within a day: their place would tell how the day was made up.
    """
    known = np.flatnonzero(~np.isnan(numbers))
    order = known[np.lexsort((numbers[known], days[known]))]
    day, number = days[order], numbers[order]
    if not len(order) or (np.diff(number)[np.diff(day) == 0] != 0).mean() < ALL_DIFFER:
        return None
    _, first_of_day, size = np.unique(day, return_index=True, return_counts=True)
    place = np.full(len(numbers), np.nan)
    at = np.arange(len(order)) - np.repeat(first_of_day, size)
    place[order] = at / np.repeat(size, size)
    return place


def _or_missing(codes: FloatArray | IntArray, is_missing: BoolArray, group: int) -> IntArray:
    return np.where(is_missing, group, codes).astype(np.int64)
