"""The reference profile: typical feature values of a model's leads, with which reasons compare.

The reference value of a number is its median, of a category its most frequent value, both in the
lead's peer group (segment and currency): an income is not high because businesses have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.features.encoder import Encoder
from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import round_significant

PEER_COLUMNS = ("segment", "currency")
"""Columns that define the peer group of a lead."""

ALL = ""
"""The group of all leads: used where a peer group has too few."""

MIN_ROWS = 200
"""Leads of a peer group from which on it has deciles of its own."""

QUANTILES = np.arange(0.1, 0.95, 0.1)
MEDIAN = 4
"""Index of the median among the deciles."""

PeerGroups = NDArray[np.str_]
"""The peer group of each lead."""


@dataclass(frozen=True)
class ReferenceProfile:
    """The deciles of each feature, by peer group."""

    deciles: Mapping[str, FloatArray]
    """Peer group -> shape (features, 9), in the features' order: the values at 10% to 90% of the
    leads whose value is known; nan if fewer than half are. Of a category all nine are the code of
    its most frequent value."""

    def peer_groups(self, table: pa.Table) -> PeerGroups:
        """Return the peer group of each lead, `ALL` for groups without deciles."""
        groups = _peer_groups(table)
        return np.where(np.isin(groups, list(self.deciles)), groups, ALL)

    def reference_values(self, groups: PeerGroups, decile: int = MEDIAN) -> FloatArray:
        """Return one decile of every feature for leads of `groups`: (leads, features)."""
        names, position = np.unique(groups, return_inverse=True)
        if not len(names):
            return np.empty((0, len(self.deciles[ALL])))
        return np.stack([self.deciles[name][:, decile] for name in names])[position]

    def feature_deciles(self, groups: PeerGroups, features: NDArray[np.intp]) -> FloatArray:
        """Return the nine deciles of one feature of each lead: (leads, 9)."""
        names, position = np.unique(groups, return_inverse=True)
        if not len(names):
            return np.empty((0, len(QUANTILES)))
        return np.stack([self.deciles[name] for name in names])[position, features]

    def as_dict(self) -> dict[str, Any]:
        """Return the deciles as JSON holds them, with null for unknown values."""
        return {
            group: [
                [None if np.isnan(v) else round_significant(v, 9) for v in row] for row in table
            ]
            for group, table in self.deciles.items()
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ReferenceProfile":
        """Return the profile that `as_dict` described."""
        return cls({group: np.array(rows, dtype=np.float64) for group, rows in content.items()})

    @classmethod
    def fit(cls, table: pa.Table, encoder: Encoder, matrix: FloatArray) -> "ReferenceProfile":
        """Return the profile of the leads of `table`, which `encoder` encoded as `matrix`."""
        categories = set(encoder.categorical_indexes)
        return cls(
            {group: _deciles(matrix[rows], categories) for group, rows in _rows_by_group(table)}
        )


def _rows_by_group(table: pa.Table) -> Iterator[tuple[str, Any]]:
    yield ALL, slice(None)
    groups = _peer_groups(table)
    for group in np.unique(groups):
        rows = groups == group
        if rows.sum() >= MIN_ROWS:
            yield str(group), rows


def _peer_groups(table: pa.Table) -> PeerGroups:
    columns = [name for name in PEER_COLUMNS if name in table.column_names]
    if not columns:
        return np.full(table.num_rows, ALL)
    texts = [pc.fill_null(pc.cast(table[name], pa.string()), "") for name in columns]
    joined = pc.binary_join_element_wise(*texts, "/")
    return np.asarray(joined.to_numpy(zero_copy_only=False), dtype=np.str_)


def _deciles(matrix: FloatArray, categories: set[int]) -> FloatArray:
    return np.stack(
        [
            _mode(column) if index in categories else _number_deciles(column)
            for index, column in enumerate(matrix.T)
        ]
    )


def _number_deciles(column: FloatArray) -> FloatArray:
    """Return deciles among observed values, so that a median number of employees is whole."""
    known = column[~np.isnan(column)]
    if 2 * len(known) < max(len(column), 1):
        return np.full(len(QUANTILES), np.nan)
    return np.asarray(np.quantile(known, QUANTILES, method="inverted_cdf"))


def _mode(column: FloatArray) -> FloatArray:
    values, counts = np.unique(column, return_counts=True)
    return np.full(len(QUANTILES), values[np.argmax(counts)] if len(values) else np.nan)
