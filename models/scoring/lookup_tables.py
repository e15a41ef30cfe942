"""Lookup tables of an ensemble: for each feature and value interval, its splits' joint result.

A split excludes the leaves on its other side, so the one leaf of a tree that no split excludes is
the leaf where LightGBM ends: no path is followed, and the order of splits does not matter. After
QuickScorer (Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive
ensembles of regression trees", SIGIR), which has no tables but excludes leaves split by split; here
the splits of a feature are combined in advance, for each interval between two thresholds.

Trees with one feature only (the additive stage, docs/decisions/additive-stage-then-boosting.md) are
a function of that feature's value. Their sum, the feature's curve, is tabulated beside the leaves.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from models.scoring.lightgbm_text import ZERO, Tree, TreeSplit
from pipelines.core.arrays import FloatArray, IntArray

LeafBits = np.ndarray[Any, Any]
"""Leaves as bits: unsigned integers of 32 or 64 bits, one or more columns a tree."""

BELOW_ZERO = float(np.nextafter(-ZERO, -np.inf))

SMALL_WORD, LARGE_WORD = 32, 64
"""Bits of a word; most models have 31 leaves a tree, which fit into the small one."""

EXACT_BITS = 52
"""Bits of the integers that a float holds exactly, with one to spare."""


@dataclass(frozen=True)
class PartialScore:
    """The contribution of some features to the score, row by row."""

    possible_leaves: LeafBits
    """The leaves that no split on these features excludes, shape (rows, words)."""
    curve: FloatArray
    """The sum of the features' curves."""


@dataclass(frozen=True)
class FeatureTable:
    """The partial score of one feature by value."""

    cuts: FloatArray
    """The upper ends of the intervals, inclusive."""
    scores: PartialScore
    """One row an interval; the last two are for values above the last cut and for missing ones."""

    def find_rows(self, values: FloatArray) -> IntArray:
        """Return the row of `scores` for each value."""
        return find_intervals(self.cuts, values)


def find_intervals(cuts: FloatArray, values: FloatArray) -> IntArray:
    """Return the interval of each value; the last two are above the last cut, and missing."""
    return np.asarray(np.searchsorted(cuts, values) + np.isnan(values))


def list_representatives(cuts: FloatArray) -> FloatArray:
    """Return one value of each interval, in the order of `find_intervals`."""
    return np.array([*cuts, np.inf, np.nan])


def merge_cuts(splits: Iterable[TreeSplit]) -> FloatArray:
    """Return the upper ends of the intervals on which each of `splits` is constant."""
    return np.unique([cut for split in splits for cut in _cuts(split)])


@dataclass(frozen=True)
class LeafLayout:
    """The position of each tree's leaves among the words of a row."""

    bits: int
    """Of one word."""
    first: tuple[int, ...]
    """Tree -> its first word; last, the number of words."""
    all_leaves: LeafBits
    """The bits that belong to a leaf, by word."""

    @classmethod
    def build(cls, leaves: Sequence[FloatArray]) -> "LeafLayout":
        """Return the layout of trees with these leaves; a large tree has several words."""
        counts = [len(values) for values in leaves]
        bits = SMALL_WORD if max(counts, default=1) <= SMALL_WORD else LARGE_WORD
        parts = [[min(count - start, bits) for start in range(0, count, bits)] for count in counts]
        used = [(1 << size) - 1 for of_tree in parts for size in of_tree]
        first = np.cumsum([0, *(len(of_tree) for of_tree in parts)])
        dtype = np.uint32 if bits == SMALL_WORD else np.uint64
        return cls(bits, tuple(first.tolist()), np.array(used, dtype=dtype))

    @property
    def value_offsets(self) -> IntArray:
        """The offset of each word's leaf values, if one zero follows the values of each word."""
        return np.arange(len(self.all_leaves)) * (self.bits + 1)

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        """The type of a word."""
        return np.uint32 if self.bits == SMALL_WORD else np.uint64

    def split_into_words(self, tree: int, leaves: int) -> list[tuple[int, int]]:
        """Return the words of `tree`, each with its part of the bits `leaves`."""
        full = (1 << self.bits) - 1
        numbers = range(self.first[tree], self.first[tree + 1])
        return [(word, leaves >> self.bits * part & full) for part, word in enumerate(numbers)]


@dataclass(frozen=True)
class _SplitLeaves:
    """A split of a tree, and the leaves below each side; the first leaf is the lowest bit."""

    tree: int
    split: TreeSplit
    left: int
    right: int


def group_additive_trees(
    trees: Iterable[Tree],
) -> tuple[Mapping[int, Sequence[Tree]], Sequence[Tree]]:
    """Return the trees with one feature only, by feature, and all other trees."""
    additive: dict[int, list[Tree]] = defaultdict(list)
    others = []
    for tree in trees:
        features = {split.feature for split in tree.splits}
        if len(features) == 1:
            additive[features.pop()].append(tree)
        else:
            others.append(tree)
    return additive, others


def build_tables(
    additive: Mapping[int, Sequence[Tree]], trees: Sequence[Tree], layout: LeafLayout
) -> dict[int, FeatureTable]:
    """Return the table of each feature that has a split.

    Args:
        additive: Trees with one feature only, by feature.
        trees: All others, whose leaves are in `layout`.
    """
    exclusions: dict[int, list[_SplitLeaves]] = defaultdict(list)
    splits: dict[int, list[TreeSplit]] = defaultdict(list)
    for number, tree in enumerate(trees):
        for exclusion in _list_split_leaves(number, tree):
            exclusions[exclusion.split.feature].append(exclusion)
    for tree in [*trees, *chain(*additive.values())]:
        for split in tree.splits:
            splits[split.feature].append(split)
    cuts = {feature: merge_cuts(of_feature) for feature, of_feature in sorted(splits.items())}
    values = {feature: list_representatives(ends) for feature, ends in cuts.items()}
    curves = round_curves({f: sum_trees(additive.get(f, ()), at) for f, at in values.items()})
    return {
        f: FeatureTable(
            cuts[f], PartialScore(_possible_leaves(exclusions[f], at, layout), curves[f])
        )
        for f, at in values.items()
    }


def sum_trees(trees: Iterable[Tree], values: FloatArray) -> FloatArray:
    """Return the sum of `trees` with one common feature, at each of its values."""
    return np.asarray(sum((_evaluate(tree, values) for tree in trees), np.zeros(len(values))))


def _evaluate(tree: Tree, values: FloatArray) -> FloatArray:
    """Return the value of one tree; children come after their parents."""
    reaches = {0: np.ones(len(values), dtype=bool)}
    for node, split in enumerate(tree.splits):
        left = split.goes_left(values)
        reaches[tree.left[node]] = reaches[node] & left
        reaches[tree.right[node]] = reaches[node] & ~left
    result = np.zeros(len(values))
    for leaf, value in enumerate(tree.leaves):
        result[reaches[~leaf]] = value
    return result


def round_curves(curves: Mapping[int, FloatArray]) -> dict[int, FloatArray]:
    """Return the curves, by feature, rounded so that their sum is exact in any order.

    The order in which curves are added depends on the columns that rows share. So each value is
    rounded to a multiple of a power of two that is large enough for any sum of one value of each
    curve to be exact; the error of a value is at most 2^-52 of the largest such sum.
    """
    largest = sum(float(np.abs(values).max(initial=0)) for values in curves.values())
    _, exponent = np.frexp(largest)
    shift = EXACT_BITS - int(exponent)
    return {
        feature: np.ldexp(np.rint(np.ldexp(values, shift)), -shift)
        for feature, values in curves.items()
    }


def _list_split_leaves(number: int, tree: Tree) -> Iterator[_SplitLeaves]:
    below = _leaves_below(tree)
    for split, left, right in zip(tree.splits, tree.left, tree.right, strict=True):
        yield _SplitLeaves(number, split, below[left], below[right])


def _leaves_below(tree: Tree) -> Mapping[int, int]:
    """Return the leaves below each child; children come after their parents."""
    below = {~leaf: 1 << leaf for leaf in range(len(tree.leaves))}
    for node in reversed(range(len(tree.splits))):
        below[node] = below[tree.left[node]] | below[tree.right[node]]
    return below


def _possible_leaves(
    exclusions: Sequence[_SplitLeaves], values: FloatArray, layout: LeafLayout
) -> LeafBits:
    """Return the leaves that remain possible at each value of one feature."""
    rows = np.repeat(layout.all_leaves[np.newaxis], len(values), axis=0)
    if not exclusions:
        return rows
    goes_left = np.column_stack([exclusion.split.goes_left(values) for exclusion in exclusions])
    sides = sorted(
        (word, number, left, right)
        for number, exclusion in enumerate(exclusions)
        for (word, left), (_, right) in zip(
            layout.split_into_words(exclusion.tree, exclusion.left),
            layout.split_into_words(exclusion.tree, exclusion.right),
            strict=True,
        )
    )
    words = np.array([word for word, *_ in sides])
    of_split = np.array([number for _, number, *_ in sides])
    left, right = (np.array([side[n] for side in sides], dtype=layout.dtype) for n in (2, 3))
    remaining = np.where(goes_left[:, of_split], ~right, ~left)
    distinct, starts = np.unique(words, return_index=True)
    rows[:, distinct] &= np.bitwise_and.reduceat(remaining, starts, axis=1)
    return rows


def _cuts(split: TreeSplit) -> list[float]:
    """Return the upper ends of the intervals on which `split` is constant."""
    if split.categories is not None:
        ends = {0, *split.categories, *(code + 1 for code in split.categories)} - {0}
        return [-1.0, *(float(np.nextafter(end, -np.inf)) for end in ends)]
    return [BELOW_ZERO, ZERO, split.threshold]
