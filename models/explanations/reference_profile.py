"""What is ordinary among the leads that a model learned from: "high" and "low" are told against it.

A number is ordinary at its median, a category at its commonest value. Both are those of leads of
the same kind (segment and currency): an income is not high because businesses have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.features.encoder import Encoder
from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import round_significant

KIND = ("segment", "currency")
"""Columns that say of which kind a lead is."""

ALL = ""
"""Every lead: stands in for a kind that had too few."""

FEWEST_ROWS = 200
"""Leads of a kind from which on its tenths mean something."""

TENTHS = np.arange(0.1, 0.95, 0.1)
MEDIAN = 4
"""Place of the median among the borders of the tenths."""


@dataclass(frozen=True)
class Ordinary:
    """The borders of the tenths of each feature, by kind of lead."""

    borders: Mapping[str, FloatArray]
    """Kind -> shape (features, 9), in the features' order: the values at 10% to 90% of the leads
    whose value is known; nan where fewer than half are. Of a category all nine are the code of its
    commonest value."""

    def kinds(self, table: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
        """Return the kind of each lead, `ALL` where its own is not known here."""
        named = _kinds(table)
        return np.where(np.isin(named, list(self.borders)), named, ALL)

    def of(
        self, kinds: "np.ndarray[tuple[int], np.dtype[np.str_]]", tenth: int = MEDIAN
    ) -> FloatArray:
        """Return the border `tenth` of every feature for leads of `kinds`: (leads, features)."""
        names, position = np.unique(kinds, return_inverse=True)
        if not len(names):
            return np.empty((0, len(self.borders[ALL])))
        return np.stack([self.borders[name][:, tenth] for name in names])[position]

    def borders_of(
        self,
        kinds: "np.ndarray[tuple[int], np.dtype[np.str_]]",
        features: "np.ndarray[tuple[int], np.dtype[np.intp]]",
    ) -> FloatArray:
        """Return the nine borders of one feature of each lead: (leads, 9)."""
        names, position = np.unique(kinds, return_inverse=True)
        if not len(names):
            return np.empty((0, len(TENTHS)))
        return np.stack([self.borders[name] for name in names])[position, features]

    def as_dict(self) -> dict[str, Any]:
        """Return the borders as JSON holds them; what is not known is null."""
        return {
            kind: [[None if np.isnan(v) else round_significant(v, 9) for v in row] for row in table]
            for kind, table in self.borders.items()
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Ordinary":
        """Return what `as_dict` described."""
        return cls({kind: np.array(rows, dtype=np.float64) for kind, rows in content.items()})

    @classmethod
    def learned_from(cls, table: pa.Table, encoder: Encoder, matrix: FloatArray) -> "Ordinary":
        """Return what is ordinary in `table`, which `encoder` turned into `matrix`."""
        categories = set(encoder.categorical_indexes)
        found = {kind: _borders(matrix[rows], categories) for kind, rows in _rows_by_kind(table)}
        return cls(found)


def _rows_by_kind(table: pa.Table) -> Iterator[tuple[str, Any]]:
    yield ALL, slice(None)
    named = _kinds(table)
    for kind in np.unique(named):
        rows = named == kind
        if rows.sum() >= FEWEST_ROWS:
            yield str(kind), rows


def _kinds(table: pa.Table) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    there = [name for name in KIND if name in table.column_names]
    if not there:
        return np.full(table.num_rows, ALL)
    texts = [pc.fill_null(pc.cast(table[name], pa.string()), "") for name in there]
    joined = pc.binary_join_element_wise(*texts, "/")
    return np.asarray(joined.to_numpy(zero_copy_only=False), dtype=np.str_)


def _borders(matrix: FloatArray, categories: set[int]) -> FloatArray:
    return np.stack(
        [
            _commonest(column) if index in categories else _tenths(column)
            for index, column in enumerate(matrix.T)
        ]
    )


def _tenths(column: FloatArray) -> FloatArray:
    """Return values that occur, so that the ordinary business has a whole number of employees."""
    known = column[~np.isnan(column)]
    if 2 * len(known) < max(len(column), 1):
        return np.full(len(TENTHS), np.nan)
    return np.asarray(np.quantile(known, TENTHS, method="inverted_cdf"))


def _commonest(column: FloatArray) -> FloatArray:
    values, counts = np.unique(column, return_counts=True)
    return np.full(len(TENTHS), values[np.argmax(counts)] if len(values) else np.nan)
