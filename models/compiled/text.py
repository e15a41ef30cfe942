"""Read LightGBM's own text of a model into its splits and leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.features import Numbers

Missing = Literal["none", "zero", "nan"]
MISSING: tuple[Missing, ...] = ("none", "zero", "nan")
"""What a split takes for a missing value, by its number in bits 2 and 3 of `decision_type`."""

IS_CATEGORICAL, IS_DEFAULT_LEFT, MISSING_FROM = 1, 2, 2
"""Bits of `decision_type`, and the position of those of `MISSING`."""

WORD = 32
"""Categories are kept as bits of words of this size."""

Fields = dict[str, str]


class Unsupported(Exception):
    """A kind of model that is not read here; the text says which."""


@dataclass(frozen=True)
class Split:
    """A question about one feature, and the leaves that each answer leads to."""

    tree: int
    feature: int
    threshold: float
    """A number goes left up to here."""
    categories: frozenset[int] | None
    """Categories that go left; None: the feature is a number."""
    missing: Missing
    default_left: bool
    """Where a missing number goes."""
    left: int
    """The leaves below, one bit each, the first leaf lowest."""
    right: int


@dataclass(frozen=True)
class Forest:
    """The trees of one model that predicts a number or a yes or no."""

    splits: tuple[Split, ...]
    leaves: tuple[Numbers, ...]
    """What each leaf adds, by tree: to the log-odds of a yes, or to the number."""
    sigmoid: float | None
    """What log-odds are multiplied by before they become a probability; None: a number."""


def parse(text: str) -> Forest:
    """Return the trees that `text` describes.

    Raises:
        Unsupported: The model isn't one of plain trees for a number or a yes or no.
    """
    head, *parts = text.partition("end of trees")[0].split("\nTree=")
    trees = [_fields(part) for part in parts]
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise Unsupported("linear trees")
    return Forest(
        splits=tuple(split for number, tree in enumerate(trees) for split in _splits(number, tree)),
        leaves=tuple(_array(tree, "leaf_value", np.float64) for tree in trees),
        sigmoid=_sigmoid(head),
    )


def _fields(part: str) -> Fields:
    pairs = (line.partition("=") for line in part.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _sigmoid(head: str) -> float | None:
    if "average_output" in head.splitlines():
        raise Unsupported("a forest that averages its trees")
    objective = _fields(head).get("objective", "none")
    if objective == "regression":
        return None
    kind, _, sigmoid = objective.partition(" sigmoid:")
    if kind != "binary":
        raise Unsupported(f"objective {objective}")
    return float(sigmoid)


def _splits(number: int, tree: Fields) -> Iterator[Split]:
    """Yield the splits of a tree, root first; one without splits has none."""
    children = [_array(tree, side, np.int64).tolist() for side in ("left_child", "right_child")]
    below = _leaves_below(*children)
    kinds = _array(tree, "decision_type", np.int64).tolist()
    features = _array(tree, "split_feature", np.int64).tolist()
    thresholds = _array(tree, "threshold", np.float64).tolist()
    for node, (kind, feature, threshold) in enumerate(
        zip(kinds, features, thresholds, strict=True)
    ):
        yield Split(
            tree=number,
            feature=feature,
            threshold=threshold,
            categories=_categories(tree, int(threshold)) if kind & IS_CATEGORICAL else None,
            missing=MISSING[kind >> MISSING_FROM],
            default_left=bool(kind & IS_DEFAULT_LEFT),
            left=below[children[0][node]],
            right=below[children[1][node]],
        )


def _leaves_below(left: list[int], right: list[int]) -> Mapping[int, int]:
    """Return the leaves below each node; leaf n is node -n - 1, and children follow parents."""
    below = {-leaf - 1: 1 << leaf for leaf in range(len(left) + 1)}
    for node in reversed(range(len(left))):
        below[node] = below[left[node]] | below[right[node]]
    return below


def _categories(tree: Fields, which: int) -> frozenset[int]:
    first, last = _array(tree, "cat_boundaries", np.int64)[which : which + 2]
    words = _array(tree, "cat_threshold", np.uint32)[first:last].tolist()
    return frozenset(
        position * WORD + bit
        for position, word in enumerate(words)
        for bit in range(WORD)
        if word >> bit & 1
    )


def _array(tree: Fields, name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.array(tree.get(name, "").split(), dtype=kind)
