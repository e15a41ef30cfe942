"""Exact Shapley values of LightGBM's trees, many rows at a time.

A feature's contribution to a row's log-odds is its Shapley value in the game of Lundberg, Erion and
Lee (2018), "Consistent individualized feature attribution for tree ensembles": features outside a
coalition follow both branches, weighted by the rows that took them in training. LightGBM computes
it row by row. Here the same sum is taken leaf by leaf. Let a leaf of value v have d features on its
path, z_j the share of rows that follow all of its conditions on j, and o_j be 1 where a row meets
them, else 0:

    phi_i = v (o_i - z_i) sum_S |S|! (d-1-|S|)! / d!  prod_{j in S} o_j prod_{j not in S, i} z_j
          = v (o_i - z_i) integral_0^1 prod_{j != i} (t o_j + (1 - t) z_j) dt

since the weight of a coalition of size k is the Beta integral of t^k (1 - t)^(d-1-k). The integrand
is a polynomial of degree d - 1, so ceil(d / 2) Gauss-Legendre nodes give it exactly. It depends on
the row only by the d bits o, so it is tabulated: all 2^d patterns of a leaf (as in Yang 2021, "Fast
TreeSHAP"), or only the patterns that occur if d is large.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import takewhile
from typing import Any

import numpy as np
import pyarrow as pa

from models.scoring.lightgbm_text import Tree, TreeSplit, parse_model
from models.scoring.lookup_tables import find_intervals, list_representatives, merge_cuts
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Codes = np.ndarray[tuple[int], np.dtype[Any]]
"""Integers of one or eight bytes."""

MAX_TABLE_FEATURES = 8
"""Features on a path up to which all its patterns are tabulated."""
MAX_FLAGGED_PATTERNS = 1 << 14
"""Patterns up to which the ones that occur are found by flags; sorting is faster beyond."""

WORD_SPLITS = 62
"""Splits whose sides one integer holds."""

Conditions = tuple[tuple[int, bool], ...]
"""Numbers of splits, and whether the path goes left there."""


@dataclass(frozen=True)
class Leaf:
    """A leaf, the conditions on its path by feature, and the contributions by pattern of them."""

    value: float
    features: tuple[int, ...]
    conditions: tuple[Conditions, ...]
    """By feature."""
    shares: tuple[float, ...]
    """By feature: the share of training rows that meet its conditions."""
    table: FloatArray | None
    """Contributions, shape (features, patterns); None if there are too many patterns."""

    def encode_patterns(self, sides: Mapping[bool, Sequence[BoolArray]]) -> Codes:
        """Return the pattern of each row: bit j is 1 where it meets the conditions on feature j.

        Args:
            sides: For left (True) and right, the rows that go there at each split.
        """
        width: type[np.uint8 | np.int64] = np.uint8 if self.table is not None else np.int64
        codes = np.zeros(len(sides[True][0]), dtype=width)
        for position, ((split, is_left), *others) in enumerate(self.conditions):
            met = sides[is_left][split]
            for other, is_other_left in others:
                met = met & sides[is_other_left][other]
            codes |= np.left_shift(met.view(np.uint8), position, dtype=width)
        return codes

    def look_up(self, codes: Codes) -> FloatArray:
        """Return the contributions for rows with the patterns `codes`: (features, rows)."""
        if self.table is not None:
            return self.table.take(codes, axis=1)
        distinct, position = _find_distinct(codes, 2 ** len(self.features))
        return _shapley_values(distinct, self.shares, self.value).take(position, axis=1)


@dataclass(frozen=True)
class TreePaths:
    """One tree, path by path: its splits, and its leaves.

    The contributions of a row depend on the sides it takes at the splits alone, and many rows take
    the same: of 16,384 matches a quarter differ at a tree of 31 leaves. So each distinct row is
    computed once.
    """

    splits: tuple[tuple[int, BoolArray], ...]
    """The feature of each split, and which of the feature's intervals go left."""
    leaves: tuple[Leaf, ...]
    sides: Mapping[int, tuple[IntArray, ...]]
    """By feature: the sides that each interval takes, a bit a split, in words of `WORD_SPLITS`."""

    @classmethod
    def from_tree(cls, tree: Tree, cuts: Mapping[int, FloatArray]) -> "TreePaths":
        """Return the paths of `tree`, whose features have the intervals that end at `cuts`."""
        splits = tuple(
            (split.feature, split.goes_left(list_representatives(cuts[split.feature])))
            for split in tree.splits
        )
        return cls(splits, tuple(_list_leaves(tree)), _encode_sides(splits))

    def add_to(
        self, total: FloatArray | MutableMapping[int, FloatArray], intervals: Mapping[int, IntArray]
    ) -> None:
        """Add the tree's contributions to `total`.

        Args:
            total: The sum so far, by feature and row.
            intervals: The interval of each row, by feature.
        """
        rows, position = self._find_distinct_rows(intervals)
        left = [goes_left.take(intervals[feature].take(rows)) for feature, goes_left in self.splits]
        sides = {True: left, False: [~at_split for at_split in left]}
        sums = {feature: np.zeros(len(rows)) for feature in self.sides}
        for leaf in self.leaves:
            codes = leaf.encode_patterns(sides)
            for feature, values in zip(leaf.features, leaf.look_up(codes), strict=True):
                sums[feature] += values
        for feature, values in sums.items():
            total[feature] += values.take(position)

    def _find_distinct_rows(self, intervals: Mapping[int, IntArray]) -> tuple[IntArray, IntArray]:
        """Return a row for each combination of sides, and the position of each row's among them."""
        position = reduce(_number_pairs, map(_number_values, self._encode_rows(intervals)))
        rows = np.empty(position.max(initial=-1) + 1, np.intp)
        rows[position] = np.arange(position.size)
        return rows, position

    def _encode_rows(self, intervals: Mapping[int, IntArray]) -> Iterator[IntArray]:
        """Yield each word of the sides of each row."""
        for words in zip(*self.sides.values(), strict=True):
            taken = (of.take(intervals[f]) for f, of in zip(self.sides, words, strict=True))
            yield reduce(np.bitwise_or, taken)


@dataclass(frozen=True)
class ContributionTables:
    """The contributions of a model's trees.

    Its first trees with one feature each (the additive stage) are a function of that feature's
    interval, which is tabulated; the sum is taken in the order of the trees, to its last bit.
    """

    cuts: Mapping[int, FloatArray]
    """By feature with a split: the upper ends of the intervals on which the trees are constant."""
    curves: Mapping[int, FloatArray]
    """By feature of the first trees: the sum of their contributions in each interval."""
    trees: tuple[TreePaths, ...]
    """All others, in order; a constant tree has no paths."""

    @classmethod
    def from_text(cls, text: str) -> "ContributionTables":
        """Return the contributions of the model in LightGBM's `text`.

        Raises:
            UnsupportedModel: The model is no regression or binary model with constant leaves.
        """
        trees = [tree for tree in parse_model(text).trees if tree.splits]
        splits: dict[int, list[TreeSplit]] = defaultdict(list)
        for tree in trees:
            for split in tree.splits:
                splits[split.feature].append(split)
        cuts = {feature: merge_cuts(of_feature) for feature, of_feature in splits.items()}
        first = list(takewhile(lambda tree: len({s.feature for s in tree.splits}) == 1, trees))
        others = tuple(TreePaths.from_tree(tree, cuts) for tree in trees[len(first) :])
        return cls(cuts, _sum_curves(first, cuts), others)

    def compute(self, matrix: FloatArray) -> FloatArray:
        """Return the contribution of each feature to the log-odds of each row: shape of `matrix`.

        Args:
            matrix: Rows of the encoder's matrix; nan if a value is unknown.
        """
        columns = np.ascontiguousarray(matrix.T)
        intervals = {f: find_intervals(ends, columns[f]) for f, ends in self.cuts.items()}
        total = np.zeros(columns.shape)
        for feature, curve in self.curves.items():
            total[feature] = curve.take(intervals[feature])
        for tree in self.trees:
            tree.add_to(total, intervals)
        return np.ascontiguousarray(total.T)


def _sum_curves(trees: Sequence[Tree], cuts: Mapping[int, FloatArray]) -> dict[int, FloatArray]:
    """Return the sum of the contributions of trees with one feature each, by its intervals."""
    curves: dict[int, FloatArray] = {}
    for tree in trees:
        feature = tree.splits[0].feature
        count = len(list_representatives(cuts[feature]))
        total = {feature: curves.setdefault(feature, np.zeros(count))}
        TreePaths.from_tree(tree, cuts).add_to(total, {feature: np.arange(count)})
    return curves


def _encode_sides(splits: Sequence[tuple[int, BoolArray]]) -> dict[int, tuple[IntArray, ...]]:
    """Return by feature the sides that each of its intervals takes; other features' bits are 0."""
    count = -(-len(splits) // WORD_SPLITS)
    words = {f: [np.zeros(left.size, np.int64) for _ in range(count)] for f, left in splits}
    for number, (feature, left) in enumerate(splits):
        word, bit = divmod(number, WORD_SPLITS)
        words[feature][word] |= np.left_shift(left, bit, dtype=np.int64)
    return {feature: tuple(of_feature) for feature, of_feature in words.items()}


def _number_values(values: IntArray) -> IntArray:
    """Return the number of each value, from 0, in the order in which they occur."""
    numbers = pa.array(values).dictionary_encode().indices.to_numpy()
    return np.asarray(numbers, np.intp)


def _number_pairs(first: IntArray, second: IntArray) -> IntArray:
    return _number_values(first * (second.max(initial=0) + 1) + second)


def _find_distinct(codes: Codes, count: int) -> tuple[Codes, IntArray]:
    """Return the distinct codes below `count`, and the position of each code among them."""
    if count > MAX_FLAGGED_PATTERNS:
        distinct, position = np.unique(codes, return_inverse=True)
        return distinct, position
    occurs = np.zeros(count, np.bool_)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1).take(codes)


def _list_leaves(tree: Tree) -> Iterator[Leaf]:
    """Yield each leaf with its path, from the root down."""
    pending: list[tuple[int, dict[int, tuple[float, Conditions]]]] = [(0, {})]
    while pending:
        node, path = pending.pop()
        if node < 0:
            yield _make_leaf(float(tree.leaves[~node]), path)
            continue
        feature = tree.splits[node].feature
        for child, is_left in ((tree.right[node], False), (tree.left[node], True)):
            rows = tree.rows_of_leaves[~child] if child < 0 else tree.rows_of_splits[child]
            share, conditions = path.get(feature, (1.0, ()))
            step = share * rows / tree.rows_of_splits[node], (*conditions, (node, is_left))
            pending.append((child, path | {feature: step}))


def _make_leaf(value: float, path: Mapping[int, tuple[float, Conditions]]) -> Leaf:
    shares = tuple(share for share, _ in path.values())
    table = None
    if len(path) <= MAX_TABLE_FEATURES:
        table = _shapley_values(np.arange(2 ** len(path)), shares, value)
    return Leaf(value, tuple(path), tuple(met for _, met in path.values()), shares, table)


@cache
def _quadrature(count: int) -> tuple[FloatArray, FloatArray]:
    """Return the Gauss-Legendre nodes and weights on -1 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return np.asarray(nodes), np.asarray(weights)


def _shapley_values(codes: Codes, shares: tuple[float, ...], value: float) -> FloatArray:
    """Return the contributions for each pattern of bits: shape (features, patterns)."""
    share = np.array(shares)[:, None]
    meets = (codes[None, :] >> np.arange(len(shares))[:, None] & 1).astype(np.float64)
    total = np.zeros(meets.shape)
    nodes, weights = _quadrature((len(shares) + 1) // 2)
    for node, weight in zip(nodes, weights, strict=True):
        at = (node + 1) / 2
        factors = at * meets + (1 - at) * share
        product = np.full(len(codes), weight / 2)
        for factor in factors:
            product = product * factor
        total += product / factors
    return np.asarray(value * (meets - share) * total)
