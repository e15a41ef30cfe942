"""Calibration of the matches' predictions: against outcomes known so far, and against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from models.params import Label
from models.training.dataset import KEYS, load_examples
from pipelines.core.arrays import FloatArray
from pipelines.core.database import connect, read_query
from pipelines.core.settings import Settings
from pipelines.core.statistics import quantile_edges

BINS = 10
PREDICTIONS = Path(__file__).parent / "sql" / "predictions.sql"

TARGETS: dict[str, Label] = {
    "approval": "approved",
    "take-up": "funded",
    "default": "defaulted",
}
"""Predicted probability -> label of the training data that is its outcome."""


@dataclass(frozen=True)
class CalibrationBin:
    """Matches of similar prediction; a figure is None if no outcome is known."""

    predicted: float
    true: float
    matches: int
    known: int
    """Matches with a known outcome."""
    predicted_of_known: float | None
    observed: float | None


@dataclass(frozen=True)
class Calibration:
    """Predicted, observed and true rates of one target, in bins of equal count."""

    target: str
    bins: tuple[CalibrationBin, ...]

    @property
    def known(self) -> int:
        """Return the number of matches with a known outcome."""
        return sum(row.known for row in self.bins)


def measure_calibration(settings: Settings, days: Sequence[date]) -> list[Calibration]:
    """Return the calibration of each of `TARGETS` on the matches of `days`.

    An outcome counts as it does for training: once the time for it has passed.

    Args:
        settings: Settings of the home.
        days: In order; the stored offers of each are read.

    Raises:
        InputMissing: The marts of the last day are not published.
    """
    files = {
        name: [str(settings.day_folder(root, day) / file) for day in days]
        for name, root, file in (
            ("matches", settings.matches, "matches.parquet"),
            ("offers", settings.scorecards, "offers.parquet"),
        )
    }
    with connect(settings) as connection:
        for name, paths in files.items():
            connection.read_parquet(paths, hive_partitioning=False).create_view(name)
        return [_measure(connection, settings, days[-1], target) for target in TARGETS]


def _measure(
    connection: duckdb.DuckDBPyConnection, settings: Settings, last: date, target: str
) -> Calibration:
    known = load_examples(settings, last, TARGETS[target], as_of=last + timedelta(days=1))
    connection.register("known", known.select([*KEYS, "label"]))
    found = connection.sql(read_query(PREDICTIONS), params={"target": target}).to_arrow_table()
    connection.unregister("known")
    predicted, true, weight, label = (
        np.asarray(found[name].cast(pa.float64()).to_numpy(), np.float64)
        for name in ("predicted", "true_probability", "weight", "label")
    )
    return Calibration(target, tuple(_bins(predicted, true, weight, label)))


def _bins(
    predicted: FloatArray, true: FloatArray, weight: FloatArray, label: FloatArray
) -> list[CalibrationBin]:
    """Return bins of about equal count; matches of equal prediction share a bin."""
    if predicted.size == 0:
        return []
    edges = quantile_edges(predicted, BINS)
    bin_of = np.searchsorted(edges, predicted)
    members = [np.flatnonzero(bin_of == number) for number in range(len(edges) + 1)]
    return [
        _bin(predicted[rows], true[rows], weight[rows], label[rows])
        for rows in members
        if weight[rows].sum()
    ]


def _bin(
    predicted: FloatArray, true: FloatArray, weight: FloatArray, label: FloatArray
) -> CalibrationBin:
    known = np.flatnonzero(~np.isnan(label))
    return CalibrationBin(
        predicted=float(np.average(predicted, weights=weight)),
        true=float(np.average(true, weights=weight)),
        matches=predicted.size,
        known=known.size,
        predicted_of_known=float(predicted[known].mean()) if known.size else None,
        observed=float(label[known].mean()) if known.size else None,
    )
