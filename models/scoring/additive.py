"""Trees that ask about one feature only: together they are a curve, which is looked up once.

Curves before trees (docs/decisions/curves-before-trees.md) are hundreds of trees of one split. What
all those of a feature add depends on its value alone, so it is summed ahead of time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.scoring.lightgbm_text import Tree
from pipelines.core.arrays import FloatArray

BITS = 52
"""Of the whole numbers that a float holds exactly, with one to spare."""


def apart(trees: Iterable[Tree]) -> tuple[Mapping[int, Sequence[Tree]], Sequence[Tree]]:
    """Return the trees that ask about one feature only, by feature, and all others."""
    curves: dict[int, list[Tree]] = defaultdict(list)
    others = []
    for tree in trees:
        features = {split.feature for split in tree.splits}
        if len(features) == 1:
            curves[features.pop()].append(tree)
        else:
            others.append(tree)
    return curves, others


def curve(trees: Iterable[Tree], values: FloatArray) -> FloatArray:
    """Return what `trees`, which ask about one feature only, add together at each of its values."""
    return np.asarray(sum((_added(tree, values) for tree in trees), np.zeros(len(values))))


def _added(tree: Tree, values: FloatArray) -> FloatArray:
    """Return what one tree adds; children follow their parents."""
    comes_here = {0: np.ones(len(values), dtype=bool)}
    for node, split in enumerate(tree.splits):
        left = split.goes_left(values)
        comes_here[tree.left[node]] = comes_here[node] & left
        comes_here[tree.right[node]] = comes_here[node] & ~left
    added = np.zeros(len(values))
    for leaf, value in enumerate(tree.leaves):
        added[comes_here[~leaf]] = value
    return added


def addable(curves: Mapping[int, FloatArray]) -> dict[int, FloatArray]:
    """Return the curves, by feature, with values whose sum is the same in whatever order.

    Which features' curves are added first depends on which of them rows share. So each value is
    made a multiple of a power of two that is small enough to change nothing that counts, and large
    enough for any sum of one value of each curve to be exact: off by at most 2^-52 of the largest
    such sum, each.
    """
    largest = sum(float(np.abs(values).max(initial=0)) for values in curves.values())
    _, exponent = np.frexp(largest)
    shift = BITS - int(exponent)
    return {
        feature: np.ldexp(np.rint(np.ldexp(values, shift)), -shift)
        for feature, values in curves.items()
    }
