"""Predict by looking up what curves add, and of all other trees the leaf that no split closes."""

from dataclasses import dataclass

import numpy as np

from models.scoring.additive import apart
from models.scoring.lightgbm_text import parse
from models.scoring.lookup_tables import Answers, Layout, Table, Words, tables
from models.scoring.subtree_cache import Shared, shared
from pipelines.core.arrays import FloatArray, IntArray

CELLS_TOGETHER = 1 << 24
"""Rows times words and features among which shared values are looked for: bounds the memory, never
changes the result."""

CELLS_AT_ONCE = 1 << 16
"""Words that are handled at once, about what the processor's second cache holds."""


OpenLeaves = list[tuple[Words, IntArray]]
"""Rows of words, and which of them each row of the matrix has."""

Said = list[tuple[Answers, IntArray]]
"""Answers, and which of their rows each row of the matrix has."""


@dataclass(frozen=True)
class CompiledTrees:
    """What one LightGBM model predicts."""

    tables: dict[int, Table]
    """By feature."""
    layout: Layout
    values: FloatArray
    """What a leaf adds, by word and bit; after the bits of each word a zero: no leaf is here."""
    sigmoid: float | None

    @classmethod
    def from_text(cls, text: str) -> "CompiledTrees":
        """Return the trees of LightGBM's own `text`.

        Raises:
            Unsupported: The model isn't one of plain trees for a number or a yes or no.
        """
        forest = parse(text)
        curves, trees = apart(forest.trees)
        leaves_of_trees = [tree.leaves for tree in trees]
        layout = Layout.of(leaves_of_trees)
        values = np.zeros((layout.first[-1], layout.bits + 1))
        for first, leaves in zip(layout.first, leaves_of_trees, strict=False):
            for start in range(0, len(leaves), layout.bits):
                part = leaves[start : start + layout.bits]
                values[first + start // layout.bits, : len(part)] = part
        return cls(tables(curves, trees, layout), layout, values.ravel(), forest.sigmoid)

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return for each row what `Booster.predict` does: a probability, or the number itself."""
        raw = self.raw(matrix)
        if self.sigmoid is None:
            return raw
        return np.asarray(1 / (1 + np.exp(-self.sigmoid * raw)))  # LightGBM's form, to its last bit

    def raw(self, matrix: FloatArray) -> FloatArray:
        """Return the sum of what curves and leaves add, in an order that the trees alone decide.

        A function of the row alone, exact up to the order of that sum: which rows come together
        changes no bit.
        """
        rows = _portion(CELLS_TOGETHER, len(self.layout.all_leaves) + len(self.tables))
        starts = range(0, len(matrix), rows)
        parts = [self._together(matrix[start : start + rows]) for start in starts]
        return np.concatenate([np.empty(0), *parts])

    def _together(self, matrix: FloatArray) -> FloatArray:
        said = self._said(matrix)
        sums = np.empty(len(matrix))
        at_once = _portion(CELLS_AT_ONCE, len(self.layout.all_leaves))
        scratch = Scratch.of(min(at_once, len(matrix)), self.layout)
        for start in range(0, len(matrix), at_once):
            rows = slice(start, min(start + at_once, len(matrix)))
            part = [(answers.open, codes[rows]) for answers, codes in said]
            self._sum(part, scratch.part(rows.stop - start), sums[rows])
        # these may be added in any order (see `addable`), but not one by one to the leaves' sum
        return np.asarray(sums + sum(answers.added[codes] for answers, codes in said))

    def _said(self, matrix: FloatArray) -> Said:
        """Return what all features say, those of shared columns together."""
        groups = shared(matrix, list(self.tables))
        grouped = {column for group in groups for column in group.columns}
        said = [(self._joined(matrix, group), group.codes) for group in groups]
        said += [
            (table.answers, table.rows(matrix[:, column]))
            for column, table in self.tables.items()
            if column not in grouped
        ]
        nothing = Answers(self.layout.all_leaves[np.newaxis], np.zeros(1))
        return said or [(nothing, np.zeros(len(matrix), dtype=np.int64))]

    def _joined(self, matrix: FloatArray, group: Shared) -> Answers:
        """Return what the columns of `group` say together, a row for each code."""
        remaining = np.repeat(self.layout.all_leaves[np.newaxis], len(group.first), axis=0)
        added = np.zeros(len(group.first))
        for column in group.columns:
            table = self.tables[column]
            rows = table.rows(matrix[group.first, column])
            remaining &= table.answers.open[rows]
            added += table.answers.added[rows]
        return Answers(remaining, added)

    def _sum(self, open_leaves: OpenLeaves, scratch: "Scratch", sums: FloatArray) -> None:
        """Fill `sums` with what the leaves add that all of `open_leaves` leave open."""
        remaining, looked_up, below, position, added = scratch.arrays
        for number, (words, codes) in enumerate(open_leaves):
            target = looked_up if number else remaining
            np.take(words, codes, axis=0, out=target, mode="clip")
            if number:
                remaining &= looked_up
        # One bit is left of a word, or none where the leaf is in another: the bits below it tell
        # which, and the word 0 becomes one of all bits.
        remaining -= self.layout.kind(1)
        np.bitwise_count(remaining, out=below)
        np.add(below, self.layout.starts, out=position)
        np.take(self.values, position, out=added, mode="clip")
        np.sum(added, axis=1, out=sums)


def _portion(cells: int, width: int) -> int:
    """Return how many rows of so many cells each have together about `cells`."""
    return max(cells // max(width, 1), 1)


@dataclass(frozen=True)
class Scratch:
    """Arrays of shape (rows, words) that are filled over and over."""

    arrays: tuple[Words, Words, Words, Words, FloatArray]

    @classmethod
    def of(cls, rows: int, layout: Layout) -> "Scratch":
        """Return arrays for so many rows: two of words, then counts, positions and values."""
        kinds = (layout.kind, layout.kind, np.uint8, np.int64, np.float64)
        remaining, looked_up, below, position, added = (
            np.empty((rows, len(layout.all_leaves)), dtype=kind) for kind in kinds
        )
        return cls((remaining, looked_up, below, position, added))

    def part(self, rows: int) -> "Scratch":
        """Return the first `rows` of the arrays."""
        remaining, looked_up, below, position, added = (array[:rows] for array in self.arrays)
        return Scratch((remaining, looked_up, below, position, added))
