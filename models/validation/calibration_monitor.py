"""The calibration monitor: predictions in service and their outcomes, and the rates that are shown.

A person is never shown a higher rate than was observed. For matches of a band of predicted
approval, in a segment with enough decided matches or over all, the shown rate is the lower end of
the 95% Wilson interval of the observed rate, in whole percent, and at most the person's own
prediction. With too few decided matches no rate is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.features.columns import to_floats
from models.params import params
from models.validation.splits import row_weights
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import wilson_interval

LEDGER = pa.schema(
    {
        "model": pa.string(),
        "grouping": pa.string(),
        "group": pa.string(),
        "rows": pa.int64(),
        "happened": pa.int64(),
        "predicted": pa.float64(),
        "observed": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "state": pa.string(),
    }
)
"""One row a group of matches with a known outcome; a right-censored loan counts by the part of its
horizon that was observed. `low` and `high` are the 95% interval of the observed rate; `state`:
*held* if it contains the predicted rate, *too high* or *too low* if the prediction is, *few* below
the minimum rows."""

GROUPINGS = {
    "all": None,
    "band": "band",
    "segment": "segment",
    "channel": "channel_id",
    "lender": "institution_id",
    "week": "week",
    "evidence": "evidence",
}
"""Grouping of the ledger -> column; None: all together."""
BANDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities at which the next band begins."""
CLUSTERS = ("institution_id", "business_date")
"""Columns whose values correlate the matches that share them."""
DIGITS = 6
ROUNDING = 1e-9
"""Added before a percentage is rounded down, so that 0.29 x 100 is 29."""


def name_bands(predicted: FloatArray) -> pa.Array:
    """Return the name of the band of each probability: `0.05 to 0.10`."""
    edges = (0.0, *BANDS, 1.0)
    names = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    return pa.array(names).take(pa.array(find_bands(predicted)))


def summarize_calibration(model: str, decided: pa.Table) -> pa.Table:
    """Return the ledger of one model.

    Args:
        model: Its name.
        decided: Matches with a known outcome, with `predicted`, `label`, the columns of `GROUPINGS`
            and, unless all weigh 1, `weight`.
    """
    parts = [_summarize_grouping(model, grouping, decided) for grouping in GROUPINGS]
    return pa.concat_tables(parts).cast(LEDGER)


def _summarize_grouping(model: str, grouping: str, decided: pa.Table) -> pa.Table:
    column = GROUPINGS[grouping]
    names = decided[column] if column else pa.repeat("", decided.num_rows)
    weights = row_weights(decided)
    parts = {"rows": weights} | {
        name: weights * to_floats(decided, column)
        for name, column in (("happened", "label"), ("predicted", "predicted"))
    }
    table = pa.table({"group": names} | parts)
    grouped = table.filter(pc.is_valid(table["group"])).group_by("group", use_threads=False)
    sums = grouped.aggregate([(name, "sum") for name in parts]).sort_by("group")
    rows, positives, predicted = (to_floats(sums, f"{name}_sum") for name in parts)
    predicted = predicted / rows
    low, high = wilson_interval(positives, rows)
    states = np.where(predicted > high, "too high", np.where(predicted < low, "too low", "held"))
    states = np.where(rows < params().calibration_monitor.min_rows, "few", states)
    return pa.table(
        {
            "model": pa.repeat(model, sums.num_rows),
            "grouping": pa.repeat(grouping, sums.num_rows),
            "group": sums["group"].cast(pa.string()),
            "rows": rows.round().astype(np.int64),
            "happened": positives.round().astype(np.int64),
            "predicted": predicted.round(DIGITS),
            "observed": (positives / rows).round(DIGITS),
            "low": low.round(DIGITS),
            "high": high.round(DIGITS),
            "state": states,
        }
    )


@dataclass(frozen=True)
class DisclosedOdds:
    """The approval rates that a person may be shown, in whole percent, by segment and band."""

    by_segment: Mapping[str, tuple[int, ...]]
    """0 if the segment has too few matches in the band; then the rate over all counts."""
    overall: tuple[int, ...]

    @classmethod
    def fit(cls, decided: pa.Table) -> "DisclosedOdds":
        """Return the rates that outcomes allow; `decided` as `summarize_calibration` takes it."""
        segments = sorted(set(decided["segment"].to_pylist()))
        by_segment = {
            name: _lower_ends(decided.filter(pc.equal(decided["segment"], name)))
            for name in segments
        }
        return cls(by_segment, _lower_ends(decided))

    def look_up(self, segment: pa.Array | pa.ChunkedArray, predicted: FloatArray) -> pa.Array:
        """Return the percentage that each row may be shown; null if none."""
        bands = find_bands(predicted)
        percent = np.array(self.overall)[bands]
        for name, allowed in self.by_segment.items():
            rows = pc.equal(segment, name).to_numpy(zero_copy_only=False).astype(bool)
            own = np.array(allowed)[bands]
            percent = np.where(rows & (own > 0), own, percent)
        percent = np.minimum(percent, np.floor(100 * predicted + ROUNDING)).astype(np.int64)
        step = params().calibration_monitor.disclosed_step
        percent = np.where(percent >= step, percent - percent % step, percent)
        return pa.array(percent, mask=percent < 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the rates for a file."""
        return {"by_segment": dict(self.by_segment), "overall": list(self.overall)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "DisclosedOdds":
        """Return the rates that `as_dict` described."""
        by_segment = {name: tuple(rates) for name, rates in content["by_segment"].items()}
        return cls(by_segment, tuple(content["overall"]))


def _lower_ends(decided: pa.Table) -> tuple[int, ...]:
    labels = to_floats(decided, "label")
    clusters = [_encode(decided[name]) for name in CLUSTERS]
    bands = find_bands(to_floats(decided, "predicted"))
    in_bands = (bands == band for band in range(len(BANDS) + 1))
    return tuple(_lower_end(labels[rows], [codes[rows] for codes in clusters]) for rows in in_bands)


def find_bands(predicted: FloatArray) -> IntArray:
    """Return the number of the band of each probability."""
    return np.asarray(np.searchsorted(BANDS, predicted, side="right"))


def _encode(column: pa.ChunkedArray) -> IntArray:
    return np.asarray(pc.dictionary_encode(column.combine_chunks()).indices.to_numpy(), np.int64)


def _lower_end(labels: FloatArray, clusters: Sequence[IntArray]) -> int:
    """Return the lower end of a band's rate in whole percent; 0 if there are too few rows.

    Matches of one lender or one day are correlated, and tomorrow's are others. So the rows are
    divided by the design effect of clusters: the variance of cluster totals over that by chance.
    """
    if len(labels) < params().calibration_monitor.min_rows:
        return 0
    rows, rate = float(len(labels)), float(labels.mean())
    by_chance = max(rows * rate * (1 - rate), 1e-9)
    effects = [np.sum(np.bincount(codes, labels - rate) ** 2) / by_chance for codes in clusters]
    effective_rows = rows / max(1.0, *map(float, effects))
    low, _ = wilson_interval(rate * effective_rows, effective_rows)
    return int(np.floor(100 * low + ROUNDING))
