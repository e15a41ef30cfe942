"""One column of any type, parsed as numbers, dates or text, and the groupings that are tested.

Raw files hold everything as text, so text that parses as numbers or dates is treated as such. A
grouping sorts the rows into groups; the outcome rate of a row's group, estimated on other rows, is
the only thing that a grouping predicts. So numbers, categories, dates and ids are tested alike, and
a relation without order (a term of whole years that means repaid) is found as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import quantile_edges

MIN_PARSED_SHARE = 0.99
"""Share of a column's texts that must parse as numbers, or as dates, for it to count as such."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
DATE_FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%d-%b-%y", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d")
DATE_LENGTH = 10
"""The first characters of a timestamp in text are its date."""
FIRST_DAY, LAST_DAY = -25_567, 47_482
"""Days since 1970 of 1900-01-01 and 2100-01-01; digits that mean a day outside are no date."""

BINS = 32
"""Quantile bins of a number."""
GRAINS = (1_000_000, 100_000, 10_000, 1_000, 100, 10, 1, 0.1, 0.01)
"""A number's roundness is the first of these that divides it, and whether 12 months divide it."""
MONTHS = 12
DIGITS = 10
ROUNDING_ERROR = 1e-9
"""Distance of a quotient from a whole number that counts as rounding."""
MIN_DISTINCT_SHARE = 0.95
"""Share of neighbours within a day that must differ for a column to number the day's rows."""


@dataclass(frozen=True)
class Column:
    """One column under test."""

    name: str
    values: pa.Array

    def take(self, rows: IntArray) -> "Column":
        """Return the column with only these rows, in this order."""
        return Column(self.name, self.values.take(pa.array(rows)))

    @cached_property
    def cleaned(self) -> pa.Array:
        """The values, with null for blank texts and for numbers that are not finite."""
        kind = self.values.type
        if pa.types.is_nested(kind):
            return pa.array([f"{value}" for value in self.values.to_pylist()], pa.string())
        if _is_text(kind):
            trimmed = pc.utf8_trim_whitespace(pc.cast(self.values, pa.string()))
            return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
        if pa.types.is_floating(kind):
            return pc.if_else(pc.is_finite(self.values), self.values, pa.scalar(None, kind))
        return self.values

    @cached_property
    def is_missing(self) -> BoolArray:
        """The rows without a value."""
        return np.asarray(self.cleaned.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)

    @cached_property
    def numbers(self) -> FloatArray | None:
        """The column as numbers, nan where missing; dates as days; None if it is neither."""
        return self._parsed_numbers if self.days is None else self.days

    @cached_property
    def days(self) -> FloatArray | None:
        """The column as days since 1970, UTC, nan where missing; None if it holds no dates."""
        kind = self.cleaned.type
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return _to_days(self.cleaned)
        return _parse_days(self.cleaned) if pa.types.is_string(kind) else None

    @cached_property
    def is_timestamp(self) -> bool:
        """True for timestamps: in another time zone their date may differ by a day."""
        return bool(pa.types.is_timestamp(self.cleaned.type))

    @property
    def digit_pattern(self) -> "Column":
        """The texts with every digit replaced by 9; ids of one register share a pattern."""
        return Column(self.name, pc.replace_substring_regex(self.cleaned, r"[0-9]", "9"))

    @property
    def serial(self) -> FloatArray | None:
        """The last number within each text, such as that of an id; None if few texts have one."""
        matches = pc.extract_regex(self.cleaned, r"(?P<serial>[0-9]{1,15})[^0-9]*$")
        serial = pc.struct_field(matches, "serial")
        has_serial = pc.is_valid(serial).filter(self.cleaned.is_valid())
        return _to_floats(serial) if _nearly_all(has_serial) else None

    @cached_property
    def _parsed_numbers(self) -> FloatArray | None:
        kind = self.cleaned.type
        if pa.types.is_string(kind):
            return _parse_numbers(self.cleaned)
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if is_number or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
            return _to_floats(self.cleaned)
        return None


@dataclass(frozen=True)
class Groupings:
    """The groupings of one column: by value, missingness, size, roundness, pattern and position."""

    column: Column
    lead_days: FloatArray | None
    """Days of the leads since 1970; None: not known."""

    @cached_property
    def by_value(self) -> IntArray:
        """One group per value; missing values form a group of their own."""
        coded = self.column.cleaned.dictionary_encode()
        codes = np.asarray(coded.indices.fill_null(0).to_numpy(), dtype=np.int64)
        return np.where(self.column.is_missing, len(coded.dictionary), codes)

    def __iter__(self) -> Iterator[tuple[str, IntArray]]:
        """Yield the name and the group codes of each grouping with two groups or more."""
        yield from self._with_two_groups

    @cached_property
    def _with_two_groups(self) -> list[tuple[str, IntArray]]:
        groupings = list(self._all())
        return [one for one in groupings if len(one[1]) and one[1].min() != one[1].max()]

    def _all(self) -> Iterator[tuple[str, IntArray]]:
        yield "its value", self.by_value
        yield "its missingness", self.column.is_missing.astype(np.int64)
        numbers = self.column.numbers
        if numbers is None:
            numbers = self.column.serial
            yield "its digit pattern", Groupings(self.column.digit_pattern, None).by_value
        if numbers is None:
            return
        yield "its size", bin_by_quantile(numbers)
        yield "its roundness", _roundness(numbers)
        yield "its last digit", _last_digit(numbers)
        if self.lead_days is not None:
            if (position := _position_in_day(numbers, self.lead_days)) is not None:
                yield "its position within the day", bin_by_quantile(position)
            if self.column.days is not None:
                yield "its distance from the lead's day", bin_by_quantile(numbers - self.lead_days)


def bin_by_quantile(numbers: FloatArray) -> IntArray:
    """Return the quantile bin of each number, among `BINS`; nan is the last group."""
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return np.zeros(len(numbers), dtype=np.int64)
    edges = quantile_edges(known, BINS)
    bins = np.searchsorted(edges, numbers, side="right")
    return _with_missing_group(bins, np.isnan(numbers), len(edges) + 1)


def _roundness(numbers: FloatArray) -> IntArray:
    known = np.nan_to_num(numbers)
    divides = [np.abs(known / grain - np.rint(known / grain)) < ROUNDING_ERROR for grain in GRAINS]
    first = np.argmax([*divides, np.ones(len(known), dtype=bool)], axis=0)
    codes = 2 * first + (known % MONTHS == 0)
    return _with_missing_group(codes, np.isnan(numbers), 2 * len(GRAINS) + 2)


def _last_digit(numbers: FloatArray) -> IntArray:
    digit = np.floor(np.abs(np.nan_to_num(numbers))) % DIGITS
    return _with_missing_group(digit, np.isnan(numbers), DIGITS)


def _position_in_day(numbers: FloatArray, days: FloatArray) -> FloatArray | None:
    """Return the relative rank of each number within its day, 0 to 1, as a serial id reveals it.

    None if numbers repeat within a day: the rank would only reflect the day's composition.
    """
    known = np.flatnonzero(~np.isnan(numbers))
    order = known[np.lexsort((numbers[known], days[known]))]
    day, number = days[order], numbers[order]
    if not len(order) or (np.diff(number)[np.diff(day) == 0] != 0).mean() < MIN_DISTINCT_SHARE:
        return None
    _, first_of_day, size = np.unique(day, return_index=True, return_counts=True)
    position = np.full(len(numbers), np.nan)
    rank = np.arange(len(order)) - np.repeat(first_of_day, size)
    position[order] = rank / np.repeat(size, size)
    return position


def _with_missing_group(
    codes: FloatArray | IntArray, is_missing: BoolArray, group: int
) -> IntArray:
    return np.where(is_missing, group, codes).astype(np.int64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_null(kind)
    )


def _to_floats(values: pa.Array) -> FloatArray:
    numbers = np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _to_days(timestamps: pa.Array) -> FloatArray:
    return _to_floats(pc.cast(pc.cast(timestamps, pa.date32(), safe=False), pa.int32()))


def _parse_numbers(texts: pa.Array) -> FloatArray | None:
    """Return texts as numbers, without currency signs and commas; None unless nearly all parse."""
    digits = pc.replace_substring_regex(texts, r"[$,]", "")
    is_number = pc.match_substring_regex(digits, NUMBER)
    if not _nearly_all(is_number):
        return None
    return _to_floats(pc.if_else(is_number, digits, pa.scalar(None, pa.string())))


def _parse_days(texts: pa.Array) -> FloatArray | None:
    """Return texts as days since 1970; None unless nearly all are dates of one format."""
    starts = pc.utf8_slice_codeunits(texts, 0, DATE_LENGTH)
    for date_format in DATE_FORMATS:
        parsed = pc.strptime(starts, format=date_format, unit="s", error_is_null=True)
        days = _to_days(parsed)
        is_date = (days >= FIRST_DAY) & (days < LAST_DAY)
        if _nearly_all(pa.array(is_date).filter(texts.is_valid())):
            return np.where(is_date, days, np.nan)
    return None


def _nearly_all(holds: pa.Array) -> bool:
    share = pc.mean(holds).as_py()
    return share is not None and share >= MIN_PARSED_SHARE
