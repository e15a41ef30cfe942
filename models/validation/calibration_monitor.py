"""Odds that were given and what came of them: a ledger, and what a person may be told of it.

Nobody is told more than was observed. For matches of a band of predicted approval, within a
segment where enough of them are decided and over all else, it is the lower end of the 95% interval
of the rate observed (E. Wilson, Journal of the American Statistical Association 22, 1927), as whole
ones in a hundred, and never more than what is predicted for the person. Where too few are decided,
nothing is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.features.encoder import numbers
from models.params import params
from models.scoring.uncertainty import BANDS
from models.validation.splits import weights_of
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
"""One row a group of matches whose outcome is known; a loan that still runs is the part of one
that has been seen of it. `low` and `high` bound the rate behind what was observed (95%); `state`:
*held* where they hold what was predicted, *too high* or *too low* where the prediction was, *few*
below the least rows."""

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
CLUSTERS = ("institution_id", "business_date")
"""Within which matches resemble each other."""
DIGITS = 6


def band_names(predicted: FloatArray) -> pa.Array:
    """Return in words the band of each probability: `0.05 to 0.10`."""
    edges = (0.0, *BANDS, 1.0)
    names = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    return pa.array(names).take(pa.array(np.searchsorted(BANDS, predicted, side="right")))


def ledger(model: str, given: pa.Table) -> pa.Table:
    """Return the ledger of one model.

    Args:
        model: Its name.
        given: Matches whose outcome is known, with `predicted`, `label`, the columns of
            `GROUPINGS` and, where they don't all count as one, `weight`.
    """
    parts = [_grouped(model, grouping, given) for grouping in GROUPINGS]
    return pa.concat_tables(parts).cast(LEDGER)


def _grouped(model: str, grouping: str, given: pa.Table) -> pa.Table:
    column = GROUPINGS[grouping]
    names = given[column] if column else pa.repeat("", given.num_rows)
    counts = weights_of(given)
    parts = {"rows": counts} | {
        name: counts * numbers(given, column)
        for name, column in (("happened", "label"), ("predicted", "predicted"))
    }
    table = pa.table({"group": names} | parts)
    sums = table.filter(pc.is_valid(table["group"])).group_by("group", use_threads=False)
    found = sums.aggregate([(name, "sum") for name in parts]).sort_by("group")
    rows, happened, predicted = (numbers(found, f"{name}_sum") for name in parts)
    predicted = predicted / rows
    low, high = wilson_interval(happened, rows)
    states = np.where(predicted > high, "too high", np.where(predicted < low, "too low", "held"))
    states = np.where(rows < params().odds.least_rows, "few", states)
    return pa.table(
        {
            "model": pa.repeat(model, found.num_rows),
            "grouping": pa.repeat(grouping, found.num_rows),
            "group": found["group"].cast(pa.string()),
            "rows": rows.round().astype(np.int64),
            "happened": happened.round().astype(np.int64),
            "predicted": predicted.round(DIGITS),
            "observed": (happened / rows).round(DIGITS),
            "low": low.round(DIGITS),
            "high": high.round(DIGITS),
            "state": states,
        }
    )


@dataclass(frozen=True)
class Told:
    """Of how many in a hundred it may be said that they were approved, by segment and band."""

    of_segment: Mapping[str, tuple[int, ...]]
    """0 where too little is known, and the band over all counts."""
    of_all: tuple[int, ...]

    @classmethod
    def learned(cls, given: pa.Table) -> "Told":
        """Return what outcomes allow; `given` as `ledger` takes it, with `segment`."""
        segments = sorted(set(given["segment"].to_pylist()))
        of_segment = {
            name: _allowed(given.filter(pc.equal(given["segment"], name))) for name in segments
        }
        return cls(of_segment, _allowed(given))

    def odds(self, segment: pa.Array | pa.ChunkedArray, predicted: FloatArray) -> pa.Array:
        """Return for each row how many in a hundred were approved at least; null: not told."""
        bands = np.searchsorted(BANDS, predicted, side="right")
        told = np.array(self.of_all)[bands]
        for name, allowed in self.of_segment.items():
            rows = pc.equal(segment, name).to_numpy(zero_copy_only=False).astype(bool)
            own = np.array(allowed)[bands]
            told = np.where(rows & (own > 0), own, told)
        told = np.minimum(told, np.floor(100 * predicted + 1e-9)).astype(np.int64)
        step = params().odds.told_in_steps_of
        told = np.where(told >= step, told - told % step, told)
        return pa.array(told, mask=told < 1)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, for a file."""
        return {"of_segment": dict(self.of_segment), "of_all": list(self.of_all)}

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> "Told":
        """Return what `as_dict` gave."""
        of_segment = {name: tuple(allowed) for name, allowed in said["of_segment"].items()}
        return cls(of_segment, tuple(said["of_all"]))


def _allowed(given: pa.Table) -> tuple[int, ...]:
    label, clusters = numbers(given, "label"), [_codes(given[name]) for name in CLUSTERS]
    bands = np.searchsorted(BANDS, numbers(given, "predicted"), side="right")
    in_bands = (bands == band for band in range(len(BANDS) + 1))
    return tuple(_lower_end(label[rows], [codes[rows] for codes in clusters]) for rows in in_bands)


def _codes(column: pa.ChunkedArray) -> IntArray:
    return np.asarray(pc.dictionary_encode(column.combine_chunks()).indices.to_numpy(), np.int64)


def _lower_end(label: FloatArray, clusters: Sequence[IntArray]) -> int:
    """Return the lower end of a band's rate, in whole ones of a hundred; 0: too few are known.

    Matches of one lender or one day resemble each other, and tomorrow's are others: they count as
    fewer, as far as their rates lie apart more than chance explains (design effect of clusters).
    """
    if len(label) < params().odds.least_rows:
        return 0
    rows, rate = float(len(label)), float(label.mean())
    by_chance = max(rows * rate * (1 - rate), 1e-9)
    effects = [np.sum(np.bincount(codes, label - rate) ** 2) / by_chance for codes in clusters]
    worth = rows / max(1.0, *map(float, effects))
    low, _ = wilson_interval(rate * worth, worth)
    return int(np.floor(100 * low + 1e-9))
