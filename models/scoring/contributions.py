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

from models.scoring.lightgbm_text import Split, Tree, parse
from pipelines.core.arrays import BoolArray, FloatArray

Codes = np.ndarray[tuple[int], np.dtype[Any]]
"""Whole numbers."""

MOST_IN_TABLE = 8
"""Features on a path up to which all its patterns are tabulated."""

Conditions = tuple[tuple[int, bool], ...]
"""Splits by number, and whether the path goes left there."""


@dataclass(frozen=True)
class Leaf:
    """A leaf, the conditions on its path by feature, and what each pattern of them adds."""

    value: float
    features: tuple[int, ...]
    conditions: tuple[Conditions, ...]
    """By feature."""
    shares: tuple[float, ...]
    """By feature: the share of training rows that follow its conditions."""
    table: FloatArray | None
    """Shape (features, patterns): what each feature adds; None where patterns are too many."""

    def codes(self, sides: Mapping[bool, Sequence[BoolArray]]) -> Codes:
        """Return the pattern of each row: bit j is 1 where it meets the conditions on feature j.

        Args:
            sides: For left and right, which rows go there at each split.
        """
        width: type[np.uint8 | np.int64] = np.uint8 if self.table is not None else np.int64
        found = np.zeros(len(sides[True][0]), dtype=width)
        for place, ((split, is_left), *others) in enumerate(self.conditions):
            met = sides[is_left][split]
            for other, is_other_left in others:
                met = met & sides[is_other_left][other]
            found |= np.left_shift(met.astype(width), place)
        return found

    def added(self, codes: Codes) -> FloatArray:
        """Return what each feature adds for rows whose patterns are `codes`: (features, rows)."""
        if self.table is not None:
            return self.table.take(codes, axis=1)
        found, position = np.unique(codes, return_inverse=True)
        return _shapley(found, self.shares, self.value)[:, position]


@dataclass(frozen=True)
class Paths:
    """One tree, path by path: its splits, and the leaves to which they lead."""

    splits: tuple[Split, ...]
    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, tree: Tree) -> "Paths":
        """Return the paths of `tree`; one that never splits has none: it says the same of all."""
        return cls(tree.splits, tuple(_leaves(tree)) if tree.splits else ())

    def add_to(self, total: FloatArray, columns: FloatArray) -> None:
        """Add what the tree says of some rows, whose features are the rows of `columns`."""
        left = [split.goes_left(columns[split.feature]) for split in self.splits]
        sides = {True: left, False: [~rows for rows in left]}
        for leaf in self.leaves:
            codes = leaf.codes(sides)
            for feature, values in zip(leaf.features, leaf.added(codes), strict=True):
                total[feature] += values


def read_paths(text: str) -> list[Paths]:
    """Return the paths of each tree of a model in LightGBM's own text.

    Raises:
        Unsupported: The model isn't one of plain trees for a number or a yes or no.
    """
    return [Paths.of(tree) for tree in parse(text).trees]


def contributions(paths: Sequence[Paths], matrix: FloatArray) -> FloatArray:
    """Return what each feature added to the log-odds of each row: shape of `matrix`.

    Args:
        paths: Of each tree, as `read_paths` returns them.
        matrix: Rows as the trees were trained on, nan where unknown.
    """
    columns = np.ascontiguousarray(matrix.T)
    total = np.zeros((columns.shape[0], columns.shape[1]))
    for of_tree in paths:
        of_tree.add_to(total, columns)
    return np.ascontiguousarray(total.T)


def _leaves(tree: Tree) -> Iterator[Leaf]:
    """Walk from the root and yield each leaf with its path."""
    waiting: list[tuple[int, dict[int, tuple[float, Conditions]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield _leaf(float(tree.leaves[~node]), path)
            continue
        feature = tree.splits[node].feature
        for child, is_left in ((tree.right[node], False), (tree.left[node], True)):
            rows = tree.rows_of_leaves[~child] if child < 0 else tree.rows_of_splits[child]
            share, conditions = path.get(feature, (1.0, ()))
            step = share * rows / tree.rows_of_splits[node], (*conditions, (node, is_left))
            waiting.append((child, path | {feature: step}))


def _leaf(value: float, path: Mapping[int, tuple[float, Conditions]]) -> Leaf:
    shares = tuple(share for share, _ in path.values())
    table = None
    if len(path) <= MOST_IN_TABLE:
        table = _shapley(np.arange(2 ** len(path)), shares, value)
    return Leaf(value, tuple(path), tuple(met for _, met in path.values()), shares, table)


@cache
def _quadrature(count: int) -> tuple[FloatArray, FloatArray]:
    """Return the nodes and weights of Gauss and Legendre on -1 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return np.asarray(nodes), np.asarray(weights)


def _shapley(codes: Codes, shares: tuple[float, ...], value: float) -> FloatArray:
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
