"""For each feature a table: stretch of its values -> the leaves that its splits leave open.

A split closes the leaves on its other side, so what remains of a tree after all splits have
spoken is the one leaf where LightGBM ends: no path is followed, and the order of splits is of no
account. After QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents
with additive ensembles of regression trees", SIGIR), which looks up nothing but closes leaves split
by split; here the splits of a feature are closed together, ahead of time, for each stretch of
values between two thresholds. Beside them stands what the trees add that ask about no other feature
(`curves`), which have no leaves among the bits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from models.scoring.additive import addable, curve
from models.scoring.lightgbm_text import ZERO, Split, Tree
from pipelines.core.arrays import FloatArray, IntArray

Words = np.ndarray[Any, Any]
"""Leaves as bits: unsigned integers of 32 or 64 bits, one or more columns a tree."""

BEFORE_ZERO = float(np.nextafter(-ZERO, -np.inf))

SMALL, LARGE = 32, 64
"""Bits of a word; most models have 31 leaves a tree, which fit into the small one."""


@dataclass(frozen=True)
class Answers:
    """What some features say, row by row."""

    open: Words
    """The leaves that they leave open, shape (rows, words)."""
    added: FloatArray
    """What their curves add."""


@dataclass(frozen=True)
class Table:
    """The answers by value of one feature."""

    cuts: FloatArray
    """Where stretches of values end, the cut included."""
    answers: Answers
    """Of each stretch; the last two of what lies beyond the last cut and of a missing value."""

    def rows(self, values: FloatArray) -> IntArray:
        """Return the row of `answers` for each value."""
        return np.asarray(np.searchsorted(self.cuts, values) + np.isnan(values))


@dataclass(frozen=True)
class Closing:
    """A split of one of the trees, and the leaves below it."""

    tree: int
    split: Split
    left: int
    """The leaves on this side, one bit each, the first leaf lowest."""
    right: int


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
    def of(cls, leaves: Sequence[FloatArray]) -> "Layout":
        """Return the layout of trees with these leaves; one with many gets several words."""
        counts = [len(values) for values in leaves]
        bits = SMALL if max(counts, default=1) <= SMALL else LARGE
        parts = [[min(count - start, bits) for start in range(0, count, bits)] for count in counts]
        used = [(1 << size) - 1 for of_tree in parts for size in of_tree]
        first = np.cumsum([0, *(len(of_tree) for of_tree in parts)])
        kind = np.uint32 if bits == SMALL else np.uint64
        return cls(bits, tuple(first.tolist()), np.array(used, dtype=kind))

    @property
    def starts(self) -> IntArray:
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


def tables(
    curves: Mapping[int, Sequence[Tree]], trees: Sequence[Tree], layout: Layout
) -> dict[int, Table]:
    """Return the table of each feature that any split asks about.

    Args:
        curves: Trees that ask about one feature only, by feature.
        trees: All others, the leaves of which have their places in `layout`.
    """
    closing: dict[int, list[Closing]] = defaultdict(list)
    splits: dict[int, list[Split]] = defaultdict(list)
    for number, tree in enumerate(trees):
        for found in _closing(number, tree):
            closing[found.split.feature].append(found)
    for tree in [*trees, *chain(*curves.values())]:
        for split in tree.splits:
            splits[split.feature].append(split)
    cuts = {feature: _all_cuts(found) for feature, found in sorted(splits.items())}
    values = {feature: np.array([*found, np.inf, np.nan]) for feature, found in cuts.items()}
    added = addable({f: curve(curves.get(f, ()), at) for f, at in values.items()})
    return {
        f: Table(cuts[f], Answers(_open(closing[f], at, layout), added[f]))
        for f, at in values.items()
    }


def _closing(number: int, tree: Tree) -> Iterator[Closing]:
    below = _leaves_below(tree)
    for split, left, right in zip(tree.splits, tree.left, tree.right, strict=True):
        yield Closing(number, split, below[left], below[right])


def _leaves_below(tree: Tree) -> Mapping[int, int]:
    """Return the leaves below each child; children follow their parents."""
    below = {~leaf: 1 << leaf for leaf in range(len(tree.leaves))}
    for node in reversed(range(len(tree.splits))):
        below[node] = below[tree.left[node]] | below[tree.right[node]]
    return below


def _open(closing: Sequence[Closing], values: FloatArray, layout: Layout) -> Words:
    """Return the leaves that remain at each value of one feature."""
    rows = np.repeat(layout.all_leaves[np.newaxis], len(values), axis=0)
    if not closing:
        return rows
    goes_left = np.column_stack([found.split.goes_left(values) for found in closing])
    sides = sorted(
        (word, number, left, right)
        for number, found in enumerate(closing)
        for (word, left), (_, right) in zip(
            layout.words(found.tree, found.left), layout.words(found.tree, found.right), strict=True
        )
    )
    words = np.array([word for word, *_ in sides])
    of_split = np.array([number for _, number, *_ in sides])
    left, right = (np.array([side[n] for side in sides], dtype=layout.kind) for n in (2, 3))
    remaining = np.where(goes_left[:, of_split], ~right, ~left)
    found, starts = np.unique(words, return_index=True)
    rows[:, found] &= np.bitwise_and.reduceat(remaining, starts, axis=1)
    return rows


def _all_cuts(splits: Iterable[Split]) -> FloatArray:
    return np.unique([cut for split in splits for cut in _cuts(split)])


def _cuts(split: Split) -> list[float]:
    """Return where the answer to `split` may change, each the end of the stretch before it."""
    if split.categories is not None:
        ends = {0, *split.categories, *(code + 1 for code in split.categories)} - {0}
        return [-1.0, *(float(np.nextafter(end, -np.inf)) for end in ends)]
    return [BEFORE_ZERO, ZERO, split.threshold]
