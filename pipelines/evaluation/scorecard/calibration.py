"""Whether what was predicted of the matches came: by the outcomes told so far, and by the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import numpy as np
import pyarrow as pa

from models.params import Label
from models.training.dataset import KEYS, examples
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.core.statistics import quantile_edges

BINS = 10


@dataclass(frozen=True)
class Question:
    """A probability that the models state of each match."""

    name: str
    predicted: str
    """Column of the matches."""
    truth: str
    """Column of the truth of the matches."""
    label: Label
    weight: str
    """SQL: how much a match counts beside the others, by the truth: as often as it is asked."""


QUESTIONS = (
    Question("approval", "p_approve", "p_approve", "approved", "1.0"),
    Question("take-up", "p_fund", "p_fund", "funded", "told.p_approve"),
    Question("default", "pd", "p_default", "defaulted", "told.p_approve * told.p_fund"),
)


@dataclass(frozen=True)
class Bin:
    """Matches of like prediction; each figure None where nothing tells it."""

    predicted: float
    true: float
    matches: int
    known: int
    """Matches whose outcome is known."""
    predicted_of_known: float | None
    realised: float | None


@dataclass(frozen=True)
class Calibration:
    """Predicted against realised and true, in bins of equal count."""

    question: Question
    bins: tuple[Bin, ...]

    @property
    def known(self) -> int:
        """Return the matches whose outcome is known."""
        return sum(row.known for row in self.bins)


def calibrations(settings: Settings, days: Sequence[date]) -> list[Calibration]:
    """Return, for each of `QUESTIONS`, how it held for the matches of `days`.

    An outcome counts as for training: once the time for it has passed.

    Args:
        settings: Where the home is.
        days: In order; what `offers_of_day` keeps of each is read.

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
        return [_calibration(connection, settings, days[-1], question) for question in QUESTIONS]


def _calibration(
    connection: duckdb.DuckDBPyConnection, settings: Settings, last: date, question: Question
) -> Calibration:
    known = examples(settings, last, question.label, as_of=last + timedelta(days=1))
    connection.register("known", known.select([*KEYS, "label"]))
    keys = ", ".join(KEYS)
    found = connection.sql(
        f"""
        select
            matches.{question.predicted} as predicted, told.{question.truth} as true,
            {question.weight} as weight, known.label as label
        from matches
        join offers as told using ({keys})
        left join known using ({keys})
        where told.policy = 'banyan'
        order by predicted, {keys}
        """
    ).to_arrow_table()
    connection.unregister("known")
    predicted, true, weight, label = (
        np.asarray(found[name].cast(pa.float64()).to_numpy(), np.float64)
        for name in ("predicted", "true", "weight", "label")
    )
    return Calibration(question, tuple(_bins(predicted, true, weight, label)))


def _bins(
    predicted: FloatArray, true: FloatArray, weight: FloatArray, label: FloatArray
) -> list[Bin]:
    """Return bins of about equal count; matches of one prediction stay together."""
    if predicted.size == 0:
        return []
    edges = quantile_edges(predicted, BINS)
    bin_of = np.searchsorted(edges, predicted)
    rows = [np.flatnonzero(bin_of == number) for number in range(len(edges) + 1)]
    return [_bin(predicted[of], true[of], weight[of], label[of]) for of in rows if weight[of].sum()]


def _bin(predicted: FloatArray, true: FloatArray, weight: FloatArray, label: FloatArray) -> Bin:
    is_known: IntArray = np.flatnonzero(~np.isnan(label))
    return Bin(
        predicted=float(np.average(predicted, weights=weight)),
        true=float(np.average(true, weights=weight)),
        matches=predicted.size,
        known=is_known.size,
        predicted_of_known=float(predicted[is_known].mean()) if is_known.size else None,
        realised=float(label[is_known].mean()) if is_known.size else None,
    )
