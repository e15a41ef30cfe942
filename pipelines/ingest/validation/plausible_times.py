"""Times far outside the date on which their file counts: typing errors and broken clocks.

A contract states how many days after (`days_ahead`) and before (`days_back`) that date a value may
lie.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from expectations.contracts import Column, Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.settings import Settings
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS

AHEAD, BACK = "in_the_future", "too_long_ago"
EPOCH = date(1970, 1, 1).toordinal()
DAY = 86_400_000_000
"""Microseconds of a day."""


@dataclass(frozen=True)
class FileDates:
    """The date on which each file of a shard counts, and its first moment."""

    days: IntArray
    """Days since 1970."""
    starts: IntArray
    """Microseconds since 1970, in UTC."""


def list_file_dates(settings: Settings, dates: list[date]) -> FileDates:
    """Return the dates of files, in their order, in the platform's time zone."""
    starts = pa.array([settings.day_start(day) for day in dates], pa.timestamp("us", "UTC"))
    return FileDates(
        np.array([day.toordinal() - EPOCH for day in dates], np.int64),
        np.asarray(starts.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64),
    )


def check_times(
    contract: Contract, typed: pa.Table, files: pa.ChunkedArray, dates: FileDates
) -> pa.Table:
    """Return the violations of `in_the_future` and `too_long_ago`, by `VIOLATIONS`.

    Args:
        contract: States how far ahead and back each column may lie.
        typed: Typed rows.
        files: The file of each row, as a position in `dates`.
        dates: The dates of the files.
    """
    violations = [VIOLATIONS.empty_table()]
    file = files.to_numpy()
    for column in contract.columns:
        if column.days_ahead is None and column.days_back is None:
            continue
        is_known = typed[column.name].is_valid().to_numpy()
        ahead = _count_days_ahead(typed[column.name], file, dates)
        if column.days_ahead is not None:
            is_late = is_known & (ahead > column.days_ahead)
            end = f"more than {column.days_ahead} days after the date of the file"
            violations += _make_violations(column, AHEAD, is_late, end)
        if column.days_back is not None:
            is_early = is_known & (ahead < -column.days_back)
            end = f"more than {column.days_back:,} days before the date of the file"
            violations += _make_violations(column, BACK, is_early, end)
    return pa.concat_tables(violations)


def _count_days_ahead(values: pa.ChunkedArray, file: IntArray, dates: FileDates) -> IntArray:
    """Return by how many days each value is after the date of its file; 0 is the same date."""
    if pa.types.is_date(values.type):
        days = values.cast(pa.int32()).fill_null(0).to_numpy().astype(np.int64)
        ahead: IntArray = days - dates.days[file]
        return ahead
    moments = values.cast(pa.int64()).fill_null(0).to_numpy()
    # Floor division: a time of the day before is day -1. A day of 23 or 25 hours moves the ends by
    # one hour, which is no matter where whole days are allowed.
    whole: IntArray = (moments - dates.starts[file]) // DAY
    return whole


def _make_violations(
    column: Column, rule: str, is_violation: BoolArray, end: str
) -> list[pa.Table]:
    rows = np.flatnonzero(is_violation)
    if not rows.size:
        return []
    shared = {
        "column": column.name,
        "rule": rule,
        "severity": column.severity,
        "message": f"{column.name} is {end}; check the year and the clock",
    }
    repeated = {name: pa.repeat(value, rows.size) for name, value in shared.items()}
    return [pa.table({"row": rows, **repeated}, schema=VIOLATIONS)]
