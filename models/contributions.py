"""Exact Shapley values of LightGBM's trees, many rows at a time.

What a feature adds to a row's log-odds is its Shapley value in the game of Lundberg, Erion and Lee
(2018), "Consistent individualized feature attribution for tree ensembles": features outside a
coalition follow both branches, weighted by the rows that took them in training. LightGBM computes
it row by row. The same sum can be taken leaf by leaf. Let a leaf of value v have d features on its
path, z_j the share of rows that follow all of its conditions on j, and o_j be 1 where a row meets
them, else 0:

    phi_i = v (o_i - z_i) sum_S |S|! (d-1-|S|)! / d!  prod_{j in S} o_j prod_{j not in S, i} z_j
          = v (o_i - z_i) integral_0^1 prod_{j != i} (t o_j + (1 - t) z_j) dt

since the weight of a coalition of size k is the Beta integral of t^k (1 - t)^(d-1-k). The integrand
is a polynomial of degree d - 1, so ceil(d / 2) Gauss-Legendre nodes give it exactly. It depends on
the row only by the d bits o, so it is looked up: 2^d patterns a leaf (as in Yang 2021, "Fast
TreeSHAP"), or only those that occur where d is large.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from models.features import Matrix, Numbers

Bits = np.ndarray[tuple[int], np.dtype[np.bool_]]
Codes = np.ndarray[tuple[int], np.dtype[Any]]
"""Whole numbers."""

MOST_IN_TABLE = 8
"""Features on a path up to which all its patterns are tabulated."""

CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING_ZERO, MISSING_NAN = 1, 2
ZERO = float(np.float32(1e-35))
"""LightGBM's own zero (`kZeroThreshold`)."""


@dataclass(frozen=True)
class Node:
    """A split: rows that meet it go left."""

    feature: int
    threshold: float
    categories: tuple[int, ...] | None
    """Those that go left; None for a number."""
    missing: int
    is_default_left: bool

    def goes_left(self, values: Numbers) -> Bits:
        """Return for each value whether it goes left, as LightGBM decides it."""
        if self.categories is not None:
            return np.asarray(np.isin(values, self.categories))  # unknown: in none, so right
        unknown = np.isnan(values)
        known = np.where(unknown, 0.0, values) if self.missing != MISSING_NAN else values
        left = known <= self.threshold
        if self.missing == MISSING_NAN:
            return np.where(unknown, self.is_default_left, left)
        if self.missing == MISSING_ZERO:
            return np.where(np.abs(known) <= ZERO, self.is_default_left, left)
        return left


@dataclass(frozen=True)
class Leaf:
    """A leaf, the conditions on its path by feature, and what each pattern of them adds."""

    value: float
    features: tuple[int, ...]
    conditions: tuple[tuple[tuple[int, bool], ...], ...]
    """By feature: nodes, and whether the path goes left there."""
    shares: tuple[float, ...]
    """By feature: the share of training rows that follow its conditions."""
    table: Matrix | None
    """Shape (features, patterns): what each feature adds; None where patterns are too many."""

    def codes(self, sides: Mapping[bool, Sequence[Bits]]) -> Codes:
        """Return the pattern of each row: bit j is 1 where it meets the conditions on feature j.

        Args:
            sides: For left and right, which rows go there at each node.
        """
        width: type[np.uint8 | np.int64] = np.uint8 if self.table is not None else np.int64
        found = np.zeros(len(sides[True][0]), dtype=width)
        for place, ((node, is_left), *others) in enumerate(self.conditions):
            met = sides[is_left][node]
            for other, is_other_left in others:
                met = met & sides[is_other_left][other]
            found |= np.left_shift(met.astype(width), place)
        return found

    def added(self, codes: Codes) -> Matrix:
        """Return what each feature adds for rows whose patterns are `codes`: (features, rows)."""
        if self.table is not None:
            return self.table.take(codes, axis=1)
        found, position = np.unique(codes, return_inverse=True)
        return _shapley(found, self.shares, self.value)[:, position]


@dataclass(frozen=True)
class Tree:
    """The splits and leaves of one tree."""

    nodes: tuple[Node, ...]
    leaves: tuple[Leaf, ...]

    def add_to(self, total: Matrix, columns: Matrix) -> None:
        """Add what the tree says of some rows, whose features are the rows of `columns`."""
        left = [node.goes_left(columns[node.feature]) for node in self.nodes]
        sides = {True: left, False: [~bits for bits in left]}
        for leaf in self.leaves:
            codes = leaf.codes(sides)
            for feature, values in zip(leaf.features, leaf.added(codes), strict=True):
                total[feature] += values


def contributions(trees: Sequence[Tree], matrix: Matrix) -> Matrix:
    """Return what each feature added to the log-odds of each row: shape of `matrix`.

    Args:
        trees: As `read_trees` returns them.
        matrix: Rows as the trees were trained on, nan where unknown.
    """
    columns = np.ascontiguousarray(matrix.T)
    total = np.zeros((columns.shape[0], columns.shape[1]))
    for tree in trees:
        tree.add_to(total, columns)
    return np.ascontiguousarray(total.T)


def read_trees(text: str) -> list[Tree]:
    """Return the trees of a model in LightGBM's own text."""
    blocks = text.partition("\nend of trees")[0].split("\nTree=")[1:]
    return [_tree(dict(_fields(block))) for block in blocks]


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, is_field, value = line.partition("=")
        if is_field:
            yield name, value


def _tree(fields: dict[str, str]) -> Tree:
    if int(fields["num_leaves"]) < 2:  # noqa: PLR2004  one leaf: the same for every row
        return Tree((), ())
    return Tree(tuple(_nodes(fields)), tuple(_leaves(fields)))


def _nodes(fields: dict[str, str]) -> Iterator[Node]:
    thresholds = [float(text) for text in fields["threshold"].split()]
    kinds = [int(text) for text in fields["decision_type"].split()]
    bounds = [int(text) for text in fields.get("cat_boundaries", "").split()]
    words = [int(text) for text in fields.get("cat_threshold", "").split()]
    features = [int(text) for text in fields["split_feature"].split()]
    for feature, threshold, kind in zip(features, thresholds, kinds, strict=True):
        categories = None
        if kind & CATEGORICAL:
            first, end = bounds[int(threshold)], bounds[int(threshold) + 1]
            categories = tuple(
                32 * place + bit
                for place, word in enumerate(words[first:end])
                for bit in range(32)
                if word >> bit & 1
            )
        yield Node(feature, threshold, categories, kind >> 2 & 3, bool(kind & DEFAULT_LEFT))


def _leaves(fields: dict[str, str]) -> Iterator[Leaf]:
    """Walk from the root; a negative child is a leaf, told by its complement."""
    left, right, features, node_rows, leaf_rows = (
        [int(text) for text in fields[name].split()]
        for name in ("left_child", "right_child", "split_feature", "internal_count", "leaf_count")
    )
    values = [float(text) for text in fields["leaf_value"].split()]
    waiting: list[tuple[int, dict[int, tuple[float, tuple[tuple[int, bool], ...]]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield _leaf(values[~node], path)
            continue
        for child, is_left in ((right[node], False), (left[node], True)):
            rows = leaf_rows[~child] if child < 0 else node_rows[child]
            share, conditions = path.get(features[node], (1.0, ()))
            step = share * rows / node_rows[node], (*conditions, (node, is_left))
            waiting.append((child, path | {features[node]: step}))


def _leaf(value: float, path: dict[int, tuple[float, tuple[tuple[int, bool], ...]]]) -> Leaf:
    shares = tuple(share for share, _ in path.values())
    table = None
    if len(path) <= MOST_IN_TABLE:
        table = _shapley(np.arange(2 ** len(path)), shares, value)
    return Leaf(value, tuple(path), tuple(met for _, met in path.values()), shares, table)


@cache
def _quadrature(count: int) -> tuple[Numbers, Numbers]:
    """Return the nodes and weights of Gauss and Legendre on -1 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return np.asarray(nodes), np.asarray(weights)


def _shapley(codes: Codes, shares: tuple[float, ...], value: float) -> Matrix:
    """Return what each feature adds for each pattern of bits: shape (features, patterns)."""
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
