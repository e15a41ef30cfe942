"""Scores of rows with some of their features at other values.

An explanation asks for a row's score dozens of times, each with one group of features changed. A
tree's leaf is the one that every feature leaves possible (`lookup_tables`), so what all other
groups leave possible is found once for each group, and a change costs one more AND. The scores are
the ones of `TreePredictor.predict_raw`, to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.scoring.lookup_tables import LeafBits
from models.scoring.tree_predictor import TreePredictor
from pipelines.core.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class GroupScores:
    """The partial scores of each group of features for some rows of values."""

    values: FloatArray
    """The rows, as rows of the encoder's matrix."""
    possible_leaves: LeafBits
    """Shape (groups, rows, words)."""
    curve: FloatArray
    """Shape (groups, rows)."""


@dataclass(frozen=True)
class FeatureGroups:
    """A model whose features are changed by group."""

    predictor: TreePredictor
    group_of_feature: IntArray
    """The group of each column of the encoder's matrix: 0, 1, 2 ..."""

    def score(self, values: FloatArray) -> GroupScores:
        """Return the partial scores of each group at rows of values."""
        return self.score_intervals(values, self.find_intervals(values))

    def find_intervals(self, values: FloatArray) -> dict[int, IntArray]:
        """Return the interval of each row, by feature that the model uses."""
        tables = self.predictor.tables
        return {column: table.find_rows(values[:, column]) for column, table in tables.items()}

    def score_intervals(self, values: FloatArray, intervals: Mapping[int, IntArray]) -> GroupScores:
        """Return `score` of rows whose intervals are known."""
        groups = int(self.group_of_feature.max(initial=-1)) + 1
        all_leaves = self.predictor.layout.all_leaves
        possible = np.empty((groups, len(values), len(all_leaves)), all_leaves.dtype)
        possible[:] = all_leaves
        curve = np.zeros((groups, len(values)))
        for column, rows in intervals.items():
            scores = self.predictor.tables[column].scores
            group = self.group_of_feature[column]
            possible[group] &= scores.possible_leaves.take(rows, axis=0)
            curve[group] += scores.curve.take(rows)
        return GroupScores(values, possible, curve)

    def list_others(self, feature: int) -> list[int]:
        """Return the other features of a feature's group that the model uses."""
        groups, group = self.group_of_feature, self.group_of_feature[feature]
        tables = self.predictor.tables
        return [column for column in tables if groups[column] == group and column != feature]


class Substitution:
    """The scores of some rows, and of the same rows with features at other values.

    Args:
        features: The model, and the groups of its features.
        matrix: Rows of the encoder's matrix.
    """

    def __init__(self, features: FeatureGroups, matrix: FloatArray) -> None:
        self._features, self._predictor = features, features.predictor
        self._intervals = features.find_intervals(matrix)
        own = features.score_intervals(matrix, self._intervals)
        every = _combine_others(own.possible_leaves, self._predictor.layout.all_leaves)
        curve = own.curve.sum(axis=0)  # exact in any order
        self._possible, self._curve = own.possible_leaves, curve - own.curve  # of all other groups
        self.scores = self._predictor.sum_leaves(every) + curve

    def change_groups(
        self, rows: IntArray, groups: IntArray, changed: GroupScores, of_row: IntArray
    ) -> FloatArray:
        """Return the scores of `rows`, each with one group of features changed.

        Args:
            rows: Rows of the matrix.
            groups: The group of each of `rows` that is changed.
            changed: Other values.
            of_row: The row of `changed` for each of `rows`.
        """
        possible = self._possible[groups, rows]
        possible &= changed.possible_leaves[groups, of_row]
        curve = self._curve[groups, rows] + changed.curve[groups, of_row]
        return np.asarray(self._predictor.sum_leaves(possible) + curve)

    def change_features(
        self, rows: IntArray, features: IntArray, changed: GroupScores, of_row: IntArray
    ) -> FloatArray:
        """Return the scores of `rows`, each with one feature changed; see `change_groups`."""
        result = self.scores[rows]
        tables = self._predictor.tables
        for feature in set(np.unique(features).tolist()) & tables.keys():
            at = np.flatnonzero(features == feature)
            row, group = rows[at], self._features.group_of_feature[feature]
            others = self._features.list_others(feature)
            intervals = {other: self._intervals[other][row] for other in others}
            value = changed.values[of_row[at], feature]
            intervals[feature] = tables[feature].find_rows(value)
            possible = self._possible[group, row]
            curve = self._curve[group, row]
            for column, found in intervals.items():
                possible &= tables[column].scores.possible_leaves.take(found, axis=0)
                curve = curve + tables[column].scores.curve[found]
            result[at] = self._predictor.sum_leaves(possible) + curve
        return np.asarray(result)


def _combine_others(possible: LeafBits, all_leaves: LeafBits) -> LeafBits:
    """Replace what each group leaves possible by what all others do; return what all groups do."""
    own = possible.copy()
    every = np.empty(possible.shape[1:], possible.dtype)
    every[:] = all_leaves
    for group in range(len(own)):
        possible[group] = every
        every &= own[group]
    behind = np.empty_like(every)
    behind[:] = all_leaves
    for group in reversed(range(len(own))):
        possible[group] &= behind
        behind &= own[group]
    return every
