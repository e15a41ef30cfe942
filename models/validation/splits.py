"""Which rows a model is fitted on and which it is checked on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.params import params
from pipelines.core.arrays import BoolArray, FloatArray


@dataclass(frozen=True)
class Split:
    """Rows to fit on and rows, none of them the same, to check on."""

    fit: BoolArray
    check: BoolArray


def in_time(table: pa.Table) -> list[Split]:
    """Return one split for each cut of the parameters: fit before it, check up to the next.

    Cuts are shares of all that the rows weigh: of loans, the newest are many and say little.
    A row is fitted on only if its label was known before the cut, as it would have been then. In a
    market whose examples span less than `young_days` that would leave nothing to fit on; there the
    rows before the cut count, whenever their labels came.
    """
    days = table["business_date"].to_numpy()
    counts = ~is_inferred(table)
    weights = weights_of(table) * counts
    known = table["label_known_on"].to_numpy()
    if not len(days):
        return [Split(np.zeros(0, bool), np.zeros(0, bool))]
    order = np.argsort(days, kind="stable")
    ordered, so_far = days[order], np.cumsum(weights[order])
    places = np.searchsorted(so_far, np.array(params().cuts) * so_far[-1], side="right")
    starts = list(ordered[np.minimum(places, len(ordered) - 1)])
    ends = [*starts[1:], ordered[-1] + np.timedelta64(1, "D")]
    is_young = ordered[-1] - ordered[0] < np.timedelta64(params().young_days, "D")
    return [
        Split(
            (days < start) & ((known < start) | is_young), (days >= start) & (days < end) & counts
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def weights_of(table: pa.Table) -> FloatArray:
    """Return how much each row counts: by its column `weight`, without one 1."""
    if "weight" in table.column_names:
        return np.asarray(table["weight"].to_numpy(), dtype=np.float64)
    return np.ones(table.num_rows)


def remembered(table: pa.Table) -> FloatArray:
    """Return how much each row still counts to learn from: half as much for each half-life of age.

    Age is that of the row's lead before the newest one of `table`, `half_life_days` of the
    parameters the half-life.
    """
    days = table["business_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    age = days.max(initial=0) - days
    return np.asarray(0.5 ** (age / params().half_life_days))


def is_inferred(table: pa.Table) -> BoolArray:
    """Return which rows are no outcome (see `reject`): nothing is checked on them."""
    if "is_inferred" in table.column_names:
        return np.asarray(table["is_inferred"].to_numpy(zero_copy_only=False), dtype=np.bool_)
    return np.zeros(table.num_rows, dtype=np.bool_)


def at_random(rows: int, parts: int) -> list[Split]:
    """Return `parts` splits, each checking on another random part of `rows` rows in fixed order.

    For benchmarks on files without time; the day's models are split in time.
    """
    seed: int = params().boosting["seed"]
    part = np.random.default_rng(seed).permutation(rows) % parts
    return [Split(part != number, part == number) for number in range(parts)]
