"""The calibration monitor on the page: predicted and observed rates of earlier matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow.parquet as pq

from pipelines.core.settings import Settings
from pipelines.pairs.calibration_ledger import LEDGER_FILE

SHORT_GROUPINGS = ("all", "band", "segment", "week", "evidence")
"""Groupings of which every group is shown; of the others only the miscalibrated groups."""
MISCALIBRATED = frozenset({"too high", "too low"})


@dataclass(frozen=True)
class CalibrationGroup:
    """Predicted and observed rate of one group of earlier matches."""

    model: str
    grouping: str
    group: str
    rows: int
    """Matches with a known outcome."""
    happened: int
    predicted: float
    observed: float
    low: float
    high: float
    """95% interval of the rate."""
    state: str
    """`held`, `too high`, `too low`, or `few` (too few outcomes to decide)."""


def load_calibration(settings: Settings, day: date) -> tuple[CalibrationGroup, ...]:
    """Return the calibration ledger that was published with the pairs of `day`.

    Raises:
        FileNotFoundError: No ledger is published.
    """
    rows = pq.read_table(settings.day_folder(settings.pairs, day) / LEDGER_FILE).to_pylist()
    return tuple(CalibrationGroup(**row) for row in rows)


def select_short_groupings(groups: Sequence[CalibrationGroup]) -> tuple[CalibrationGroup, ...]:
    """Return the groups of the short groupings, in the ledger's order."""
    return tuple(row for row in groups if row.grouping in SHORT_GROUPINGS)


def select_miscalibrated(groups: Sequence[CalibrationGroup]) -> tuple[CalibrationGroup, ...]:
    """Return lenders and channels whose interval excludes the prediction, farthest first."""
    rows = [
        row for row in groups
        if row.grouping not in SHORT_GROUPINGS and row.state in MISCALIBRATED
    ]  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (-_distance(row), row.model, row.group)))


def _distance(row: CalibrationGroup) -> float:
    return max(row.predicted - row.high, row.low - row.predicted)
