"""One column, whatever its type, as numbers, as dates and as texts: as it can be read.

Raw files hold everything as text, so a text that reads as a number or a date is taken as one.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.arrays import BoolArray, FloatArray

PARSED = 0.99
"""Share of a column's texts that must read as numbers, or as dates, for it to be taken as such."""
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
DATE_FORMATS = ("%Y-%m-%d", "%m/%d/%Y", "%d-%b-%y", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d")
DATE_LENGTH = 10
"""Of a text that is a time, the first characters are the date."""
FIRST_DAY, LAST_DAY = -25_567, 47_482
"""Days since 1970 of 1900-01-01 and 2100-01-01: digits that mean a day outside are no date."""


@dataclass(frozen=True)
class Column:
    """One column as it is tried."""

    name: str
    values: pa.Array

    def take(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> "Column":
        """Return the column with these rows alone, in this order."""
        return Column(self.name, self.values.take(pa.array(rows)))

    @cached_property
    def plain(self) -> pa.Array:
        """The values with blank texts, and numbers that are none, missing."""
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
        """Which rows have no value."""
        return np.asarray(self.plain.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)

    @cached_property
    def numbers(self) -> FloatArray | None:
        """The column as numbers, nan where missing; dates are days; None where it holds neither."""
        return self._read if self.days is None else self.days

    @cached_property
    def days(self) -> FloatArray | None:
        """The column as days since 1970, UTC, nan where missing; None where it holds no dates."""
        kind = self.plain.type
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return _whole_days(self.plain)
        return _days_of_texts(self.plain) if pa.types.is_string(kind) else None

    @cached_property
    def is_moment(self) -> bool:
        """Whether its dates are moments: in another time zone they may be a day off."""
        return bool(pa.types.is_timestamp(self.plain.type))

    @property
    def form(self) -> "Column":
        """Its texts with every digit alike, as the ids of one register are."""
        return Column(self.name, pc.replace_substring_regex(self.plain, r"[0-9]", "9"))

    @property
    def serial(self) -> FloatArray | None:
        """The last number within each text, such as that of an id; None: few have one."""
        found = pc.extract_regex(self.plain, r"(?P<serial>[0-9]{1,15})[^0-9]*$")
        serial = pc.struct_field(found, "serial")
        return (
            _floats(serial)
            if _nearly_all(pc.is_valid(serial).filter(self.plain.is_valid()))
            else None
        )

    @cached_property
    def _read(self) -> FloatArray | None:
        kind = self.plain.type
        if pa.types.is_string(kind):
            return _numbers_of_texts(self.plain)
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if is_number or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
            return _floats(self.plain)
        return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_null(kind)
    )


def _floats(values: pa.Array) -> FloatArray:
    numbers = np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _whole_days(moments: pa.Array) -> FloatArray:
    return _floats(pc.cast(pc.cast(moments, pa.date32(), safe=False), pa.int32()))


def _numbers_of_texts(texts: pa.Array) -> FloatArray | None:
    """Return texts as numbers (a currency sign and commas don't count), if nearly all are."""
    digits = pc.replace_substring_regex(texts, r"[$,]", "")
    is_number = pc.match_substring_regex(digits, NUMBER)
    if not _nearly_all(is_number):
        return None
    return _floats(pc.if_else(is_number, digits, pa.scalar(None, pa.string())))


def _days_of_texts(texts: pa.Array) -> FloatArray | None:
    """Return texts as days since 1970, if nearly all are dates of one format."""
    starts = pc.utf8_slice_codeunits(texts, 0, DATE_LENGTH)
    for form in DATE_FORMATS:
        parsed = pc.strptime(starts, format=form, unit="s", error_is_null=True)
        days = _whole_days(parsed)
        is_date = (days >= FIRST_DAY) & (days < LAST_DAY)
        if _nearly_all(pa.array(is_date).filter(texts.is_valid())):
            return np.where(is_date, days, np.nan)
    return None


def _nearly_all(holds: pa.Array) -> bool:
    share = pc.mean(holds).as_py()
    return share is not None and share >= PARSED
