"""The ledger of odds as the page shows it: short groupings whole, of long ones what is off."""

from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow.parquet as pq

from pipelines.core.settings import Settings
from pipelines.pairs.calibration_ledger import LEDGER_FILE
from pipelines.reports.report_data import OddsGiven

WHOLE = ("all", "band", "segment", "week", "evidence")
"""Groupings of which every group is shown."""
OFF = frozenset({"too high", "too low"})


def odds_given(settings: Settings, day: date) -> tuple[OddsGiven, ...]:
    """Return the ledger that was published with the pairs of `day`.

    Raises:
        FileNotFoundError: It was not.
    """
    rows = pq.read_table(settings.day_folder(settings.pairs, day) / LEDGER_FILE).to_pylist()
    return tuple(OddsGiven(**row) for row in rows)


def held(odds: Sequence[OddsGiven]) -> tuple[OddsGiven, ...]:
    """Return the groups of the short groupings, in the ledger's order."""
    return tuple(row for row in odds if row.grouping in WHOLE)


def off(odds: Sequence[OddsGiven]) -> tuple[OddsGiven, ...]:
    """Return lenders and channels whose interval does not hold what was predicted, worst first."""
    return tuple(sorted(_off(odds), key=lambda row: (-_distance(row), row.model, row.group)))


def _off(odds: Sequence[OddsGiven]) -> Iterator[OddsGiven]:
    return (row for row in odds if row.grouping not in WHOLE and row.state in OFF)


def _distance(row: OddsGiven) -> float:
    return max(row.predicted - row.high, row.low - row.predicted)
