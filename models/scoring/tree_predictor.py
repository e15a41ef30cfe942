"""A predictor for LightGBM models by lookup tables: equal probabilities in less time.

A row's score is a lookup for each feature: the sum of its curves, and the AND of its leaf bits,
which leaves one leaf a tree. Pairs come lead by lead, and few products meet many leads: columns of
the lead are constant over a run of rows, columns of the product repeat. Such columns are combined
once for all rows that share their values. They are detected from the values, not by name; the
detection changes the time, never a result. Measurements are in
docs/decisions/scoring-by-lookup-tables.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import lightgbm
import numpy as np

from models.scoring.lightgbm_text import UnsupportedModel, parse_model
from models.scoring.lookup_tables import (
    FeatureTable,
    LeafBits,
    LeafLayout,
    PartialScore,
    build_tables,
    group_additive_trees,
)
from pipelines.core.arrays import FloatArray, IntArray

PORTION_CELLS = 1 << 24
"""Rows times words and features among which shared values are searched: bounds the memory, never
changes the result."""

BLOCK_CELLS = 1 << 16
"""Words that are processed together, about the size of a second-level cache."""

MIN_REPEATS = 8
"""Rows are grouped if they are at least so many times as many as their distinct values."""

SAMPLE_ROWS = 4096
"""Rows from which repeating columns are detected."""

MIN_SAMPLE_REPEATS = 2
"""The same as `MIN_REPEATS` within the sample, where values repeat less often."""

HASH_FACTOR, HASH_SHIFT = 0x2545F4914F6CDD1D, 29
"""Constants of the hash of several numbers, as in Vigna (2014), "An experimental exploration of
Marsaglia's xorshift generators, scrambled"."""

IndexedLeaves = list[tuple[LeafBits, IntArray]]
"""Rows of leaf bits, and the index into them of each row of the matrix."""

IndexedScores = list[tuple[PartialScore, IntArray]]
"""Partial scores, and the index into them of each row of the matrix."""


def make_predictor(text: str) -> "Predictor":
    """Return the predictor of the model in LightGBM's `text`.

    An unsupported model is predicted by LightGBM itself, on one thread. The choice depends on the
    text only, so a day of any size is scored in one way.
    """
    try:
        return TreePredictor.from_text(text)
    except UnsupportedModel:
        return BoosterPredictor(lightgbm.Booster(model_str=text))


class Predictor(Protocol):
    """Predicts each row of the encoder's matrix, on one thread."""

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return the prediction of `Booster.predict` for each row: a probability, or a number."""


@dataclass(frozen=True)
class BoosterPredictor:
    """LightGBM itself."""

    booster: lightgbm.Booster

    def predict(self, matrix: FloatArray) -> FloatArray:
        """See `Predictor.predict`."""
        return np.asarray(self.booster.predict(matrix, num_threads=1))


@dataclass(frozen=True)
class TreePredictor:
    """One LightGBM model as lookup tables."""

    tables: dict[int, FeatureTable]
    """By feature."""
    layout: LeafLayout
    values: FloatArray
    """Leaf values by word and bit; after the bits of each word a zero, for no leaf in the word."""
    sigmoid: float | None

    @classmethod
    def from_text(cls, text: str) -> "TreePredictor":
        """Return the predictor of LightGBM's `text`.

        Raises:
            UnsupportedModel: The model is no regression or binary model with constant leaves.
        """
        model = parse_model(text)
        additive, trees = group_additive_trees(model.trees)
        leaves_of_trees = [tree.leaves for tree in trees]
        layout = LeafLayout.build(leaves_of_trees)
        values = np.zeros((layout.first[-1], layout.bits + 1))
        for first, leaves in zip(layout.first, leaves_of_trees, strict=False):
            for start in range(0, len(leaves), layout.bits):
                part = leaves[start : start + layout.bits]
                values[first + start // layout.bits, : len(part)] = part
        return cls(build_tables(additive, trees, layout), layout, values.ravel(), model.sigmoid)

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return the prediction of `Booster.predict` for each row: a probability, or a number."""
        raw = self.predict_raw(matrix)
        if self.sigmoid is None:
            return raw
        return np.asarray(1 / (1 + np.exp(-self.sigmoid * raw)))  # LightGBM's form, to its last bit

    def predict_raw(self, matrix: FloatArray) -> FloatArray:
        """Return the sum of curves and leaf values, in an order that only the trees determine.

        A function of the row only: batches and neighbours change no bit.
        """
        rows = _count_rows(PORTION_CELLS, len(self.layout.all_leaves) + len(self.tables))
        starts = range(0, len(matrix), rows)
        parts = [self._predict_portion(matrix[start : start + rows]) for start in starts]
        return np.concatenate([np.empty(0), *parts])

    def sum_leaves(self, possible: LeafBits) -> FloatArray:
        """Return the sum of the values of the leaves that are possible, one a tree.

        Args:
            possible: The leaves that all features leave possible, shape (rows, words).
        """
        sums = np.empty(len(possible))
        block = _count_rows(BLOCK_CELLS, len(self.layout.all_leaves))
        buffers = _Buffers.allocate(min(block, len(possible)), self.layout)
        index = np.arange(min(block, len(possible)))
        for start in range(0, len(possible), block):
            part = possible[start : start + block]
            leaves = [(part, index[: len(part)])]
            self._sum_leaves(leaves, buffers.first_rows(len(part)), sums[start : start + len(part)])
        return sums

    def _predict_portion(self, matrix: FloatArray) -> FloatArray:
        scores = self._look_up(matrix)
        sums = np.empty(len(matrix))
        block = _count_rows(BLOCK_CELLS, len(self.layout.all_leaves))
        buffers = _Buffers.allocate(min(block, len(matrix)), self.layout)
        for start in range(0, len(matrix), block):
            rows = slice(start, min(start + block, len(matrix)))
            leaves = [(score.possible_leaves, index[rows]) for score, index in scores]
            self._sum_leaves(leaves, buffers.first_rows(rows.stop - start), sums[rows])
        # curves may be added in any order (see `round_curves`), but not one by one to `sums`
        return np.asarray(sums + sum(score.curve[index] for score, index in scores))

    def _look_up(self, matrix: FloatArray) -> IndexedScores:
        """Return the partial scores of all features, combined for columns that rows share."""
        groups = find_shared_columns(matrix, list(self.tables))
        grouped = {column for group in groups for column in group.columns}
        scores = [(self._combine(matrix, group), group.codes) for group in groups]
        scores += [
            (table.scores, table.find_rows(matrix[:, column]))
            for column, table in self.tables.items()
            if column not in grouped
        ]
        constant = PartialScore(self.layout.all_leaves[np.newaxis], np.zeros(1))
        return scores or [(constant, np.zeros(len(matrix), dtype=np.int64))]

    def _combine(self, matrix: FloatArray, group: "SharedColumns") -> PartialScore:
        """Return the partial score of all columns of `group`, one row a code."""
        remaining = np.repeat(self.layout.all_leaves[np.newaxis], len(group.first), axis=0)
        curve = np.zeros(len(group.first))
        for column in group.columns:
            table = self.tables[column]
            rows = table.find_rows(matrix[group.first, column])
            remaining &= table.scores.possible_leaves[rows]
            curve += table.scores.curve[rows]
        return PartialScore(remaining, curve)

    def _sum_leaves(self, leaves: IndexedLeaves, buffers: "_Buffers", sums: FloatArray) -> None:
        """Write into `sums` the values of the leaves that are possible in all of `leaves`."""
        remaining, looked_up, below, position, added = buffers.arrays
        for number, (words, index) in enumerate(leaves):
            target = looked_up if number else remaining
            np.take(words, index, axis=0, out=target, mode="clip")
            if number:
                remaining &= looked_up
        # One bit of a word remains, or none if the leaf is in another word. The bits below it are
        # its position; the word 0 becomes all ones, which is the position of the zero.
        remaining -= self.layout.dtype(1)
        np.bitwise_count(remaining, out=below)
        np.add(below, self.layout.value_offsets, out=position)
        np.take(self.values, position, out=added, mode="clip")
        np.sum(added, axis=1, out=sums)


def _count_rows(cells: int, width: int) -> int:
    """Return the number of rows of `width` cells that have about `cells` in total."""
    return max(cells // max(width, 1), 1)


@dataclass(frozen=True)
class _Buffers:
    """Arrays of shape (rows, words) that each block reuses."""

    arrays: tuple[LeafBits, LeafBits, LeafBits, LeafBits, FloatArray]

    @classmethod
    def allocate(cls, rows: int, layout: LeafLayout) -> "_Buffers":
        """Return arrays for so many rows: two of words, then counts, positions and values."""
        dtypes = (layout.dtype, layout.dtype, np.uint8, np.int64, np.float64)
        remaining, looked_up, below, position, added = (
            np.empty((rows, len(layout.all_leaves)), dtype=dtype) for dtype in dtypes
        )
        return cls((remaining, looked_up, below, position, added))

    def first_rows(self, rows: int) -> "_Buffers":
        """Return the first `rows` of the arrays."""
        remaining, looked_up, below, position, added = (array[:rows] for array in self.arrays)
        return _Buffers((remaining, looked_up, below, position, added))


@dataclass(frozen=True)
class SharedColumns:
    """Columns that have the same values in all rows of equal code."""

    columns: tuple[int, ...]
    first: IntArray
    """Of each code, a row that has it."""
    codes: IntArray
    """Row -> code."""


def find_shared_columns(matrix: FloatArray, columns: Sequence[int]) -> list[SharedColumns]:
    """Return the groups of `columns` that rows share; a column in no group varies row by row."""
    bits = {column: np.ascontiguousarray(matrix[:, column]).view(np.int64) for column in columns}
    slow = [
        column for column in columns if _count_changes(bits[column]) * MIN_REPEATS <= len(matrix)
    ]
    others = {column: bits[column] for column in columns if column not in slow}
    runs = [_find_runs({column: bits[column] for column in slow})] if slow else []
    return [*runs, *_find_repeats(_select_repeating(others), bits)]


def _count_changes(values: IntArray) -> int:
    return int(np.count_nonzero(values[1:] != values[:-1]))


def _find_runs(bits: Mapping[int, IntArray]) -> SharedColumns:
    """Return the runs of rows in which no column changes."""
    is_new = np.zeros(len(next(iter(bits.values()))), dtype=bool)
    is_new[:1] = True
    for values in bits.values():
        is_new[1:] |= values[1:] != values[:-1]
    return SharedColumns(tuple(bits), np.flatnonzero(is_new), np.cumsum(is_new) - 1)


def _select_repeating(bits: Mapping[int, IntArray]) -> list[int]:
    """Return columns that jointly have few distinct rows in a sample, fewest values first."""
    samples = {column: values[:: len(values) // SAMPLE_ROWS + 1] for column, values in bits.items()}
    distinct = {column: len(np.unique(sample)) for column, sample in samples.items()}
    selected: list[int] = []
    combined = np.zeros(1, dtype=np.int64)
    for column in sorted(distinct, key=lambda column: (distinct[column], column)):
        hashed = _hash(combined, samples[column])
        if len(np.unique(hashed)) * MIN_SAMPLE_REPEATS <= len(hashed):
            selected, combined = [*selected, column], hashed
    return selected


def _find_repeats(columns: Sequence[int], bits: Mapping[int, IntArray]) -> list[SharedColumns]:
    """Return the groups of rows with equal values in all of `columns`, if they are large."""
    if not columns:
        return []
    hashed = np.zeros(1, dtype=np.int64)
    for column in columns:
        hashed = _hash(hashed, bits[column])
    _, first, codes = np.unique(hashed, return_index=True, return_inverse=True)
    is_small = len(first) * MIN_REPEATS <= len(hashed)
    # Two different rows may have the same hash, if hardly ever: so the values are compared.
    is_exact = all(np.array_equal(bits[c][first][codes], bits[c]) for c in columns)
    return [SharedColumns(tuple(columns), first, codes)] if is_small and is_exact else []


def _hash(state: IntArray, values: IntArray) -> IntArray:
    """Return for each row a number that differs, but for rare collisions, if either input does."""
    return np.asarray((state ^ (state >> HASH_SHIFT)) * HASH_FACTOR + values)
