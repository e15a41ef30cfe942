"""For each feature a table: stretch of its values -> the leaves that all its splits leave open.

A split closes the leaves on its other side, so what remains of a tree after all splits have
spoken is the one leaf where LightGBM ends: no path is followed, and the order of splits is of no
account. After QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents
with additive ensembles of regression trees", SIGIR), which looks up nothing but closes leaves split
by split; here the splits of a feature are closed together, ahead of time, for each stretch of
values between two thresholds.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.compiled.text import Forest, Split
from models.features import Numbers

Words = np.ndarray[Any, Any]
"""Leaves as bits: unsigned integers of 32 or 64 bits, one or more columns a tree."""
Index = np.ndarray[tuple[int], np.dtype[np.int64]]

ZERO = float(np.float32(1e-35))
"""Numbers up to here, of either sign, are zero for LightGBM's predictor (kZeroThreshold)."""

BEFORE_ZERO = float(np.nextafter(-ZERO, -np.inf))

SMALL, LARGE = 32, 64
"""Bits of a word; most models have 31 leaves a tree, which fit into the small one."""


@dataclass(frozen=True)
class Table:
    """The open leaves by value of one feature."""

    cuts: Numbers
    """Where stretches of values end, the cut included."""
    open: Words
    """Shape (cuts + 2, words): a row for each stretch, the last two for what lies beyond the last
    cut and for a missing value."""

    def rows(self, values: Numbers) -> Index:
        """Return the row of `open` for each value."""
        return np.asarray(np.searchsorted(self.cuts, values) + np.isnan(values))


@dataclass(frozen=True)
class Layout:
    """Where the leaves of each tree are among the words."""

    bits: int
    """Of one word."""
    first: tuple[int, ...]
    """Tree -> its first word; last, the number of words."""
    all_leaves: Words
    """The bits that stand for a leaf, by word."""

    @classmethod
    def of(cls, leaves: Sequence[Numbers]) -> "Layout":
        """Return the layout of trees with these leaves; one with many gets several words."""
        counts = [len(values) for values in leaves]
        bits = SMALL if max(counts, default=1) <= SMALL else LARGE
        parts = [[min(count - start, bits) for start in range(0, count, bits)] for count in counts]
        used = [(1 << size) - 1 for of_tree in parts for size in of_tree]
        first = np.cumsum([0, *(len(of_tree) for of_tree in parts)])
        kind = np.uint32 if bits == SMALL else np.uint64
        return cls(bits, tuple(first.tolist()), np.array(used, dtype=kind))

    @property
    def starts(self) -> Index:
        """Where each word's values start, if a zero follows those of its bits."""
        return np.arange(len(self.all_leaves)) * (self.bits + 1)

    @property
    def kind(self) -> type[np.unsignedinteger[Any]]:
        """The type of a word."""
        return np.uint32 if self.bits == SMALL else np.uint64

    def words(self, tree: int, leaves: int) -> list[tuple[int, int]]:
        """Return the words of `tree`, each with its part of the bits `leaves`."""
        full = (1 << self.bits) - 1
        numbers = range(self.first[tree], self.first[tree + 1])
        return [(word, leaves >> self.bits * part & full) for part, word in enumerate(numbers)]


def tables(forest: Forest, layout: Layout) -> dict[int, Table]:
    """Return the table of each feature that any split asks about."""
    by_feature: dict[int, list[Split]] = defaultdict(list)
    for split in forest.splits:
        by_feature[split.feature].append(split)
    return {feature: _table(splits, layout) for feature, splits in sorted(by_feature.items())}


def _table(splits: Sequence[Split], layout: Layout) -> Table:
    cuts = np.unique([cut for split in splits for cut in _cuts(split)])
    goes_left = _goes_left(splits, np.array([*cuts, np.inf, np.nan]))
    sides = sorted(
        (word, number, left, right)
        for number, split in enumerate(splits)
        for (word, left), (_, right) in zip(
            layout.words(split.tree, split.left), layout.words(split.tree, split.right), strict=True
        )
    )
    words = np.array([word for word, *_ in sides])
    of_split = np.array([number for _, number, *_ in sides])
    left, right = (np.array([side[n] for side in sides], dtype=layout.kind) for n in (2, 3))
    remaining = np.where(goes_left[:, of_split], ~right, ~left)
    found, starts = np.unique(words, return_index=True)
    rows = np.full((len(goes_left), layout.first[-1]), ~layout.kind(0))
    rows[:, found] = np.bitwise_and.reduceat(remaining, starts, axis=1)
    return Table(cuts, rows)


def _cuts(split: Split) -> list[float]:
    """Return where the answer to `split` may change, each the end of the stretch before it."""
    if split.categories is not None:
        ends = {0, *split.categories, *(code + 1 for code in split.categories)} - {0}
        return [-1.0, *(float(np.nextafter(end, -np.inf)) for end in ends)]
    return [BEFORE_ZERO, ZERO, split.threshold]


def _goes_left(splits: Sequence[Split], values: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return LightGBM's answer of each split to each value, shape (values, splits)."""
    columns = [_category_left(s, values) if s.categories else _left(s, values) for s in splits]
    return np.column_stack(columns)


def _left(split: Split, values: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if split.missing != "nan":
        values = np.where(np.isnan(values), 0.0, values)
    is_zero = np.abs(values) <= ZERO
    is_missing = is_zero if split.missing == "zero" else np.isnan(values)
    return np.where(is_missing, split.default_left, np.where(is_zero, 0, values) <= split.threshold)


def _category_left(split: Split, values: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Categories are cut to whole numbers; the unknown, the missing and the negative go right."""
    is_category = (values > -1) & np.isfinite(values)
    codes = np.trunc(np.where(is_category, values, -1))
    return is_category & np.isin(codes, list(split.categories or ()))
