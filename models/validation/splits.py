"""Training and validation rows, in time or at random, and the weights of rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.params import params
from pipelines.core.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Split:
    """Rows to train on and disjoint rows to validate on."""

    train: BoolArray
    validate: BoolArray


def split_by_time(table: pa.Table) -> list[Split]:
    """Return one split for each cut: train before it, validate up to the next.

    Cuts are shares of the total weight, because the newest loans are many and carry little weight.
    A training row's label must have been known before the cut. In a market whose examples span
    less than `young_market_days` no row would be left; there the rows before the cut count,
    regardless of when their labels became known.
    """
    days = table["business_date"].to_numpy()
    observed = ~is_inferred(table)
    weights = row_weights(table) * observed
    known_on = table["label_known_on"].to_numpy()
    if not len(days):
        return [Split(np.zeros(0, bool), np.zeros(0, bool))]
    order = np.argsort(days, kind="stable")
    ordered, cumulative = days[order], np.cumsum(weights[order])
    cuts = np.array(params().time_split_cuts) * cumulative[-1]
    positions = np.searchsorted(cumulative, cuts, side="right")
    starts = list(ordered[np.minimum(positions, len(ordered) - 1)])
    ends = [*starts[1:], ordered[-1] + np.timedelta64(1, "D")]
    is_young = ordered[-1] - ordered[0] < np.timedelta64(params().young_market_days, "D")
    return [
        Split(
            train=(days < start) & ((known_on < start) | is_young),
            validate=(days >= start) & (days < end) & observed,
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def split_at_random(rows: int, folds: int) -> list[Split]:
    """Return `folds` splits of `rows` rows in fixed order, each validating on another random fold.

    For benchmarks on files without time; the day's models are split by time.
    """
    seed: int = params().boosting["seed"]
    fold = np.random.default_rng(seed).permutation(rows) % folds
    return [Split(fold != number, fold == number) for number in range(folds)]


def row_weights(table: pa.Table) -> FloatArray:
    """Return the weight of each row: its column `weight`, or 1 without that column."""
    if "weight" in table.column_names:
        return np.asarray(table["weight"].to_numpy(), dtype=np.float64)
    return np.ones(table.num_rows)


def recency_weights(table: pa.Table) -> FloatArray:
    """Return the training weight of each row by age: halved with each `half_life_days`.

    The age is that of the row's lead, relative to the newest lead of `table`.
    """
    days = table["business_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    age = days.max(initial=0) - days
    return np.asarray(0.5 ** (age / params().half_life_days))


def is_inferred(table: pa.Table) -> BoolArray:
    """Return which rows come from reject inference; no model is validated on them."""
    if "is_inferred" in table.column_names:
        return np.asarray(table["is_inferred"].to_numpy(zero_copy_only=False), dtype=np.bool_)
    return np.zeros(table.num_rows, dtype=np.bool_)
