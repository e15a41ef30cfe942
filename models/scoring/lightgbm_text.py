"""LightGBM's own text of a model, read into its trees: who scores and who explains ask these.

Format as `Booster.model_to_string` of LightGBM 4 writes it; decisions as its predictor makes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray

Missing = Literal["none", "zero", "nan"]
MISSING: tuple[Missing, ...] = ("none", "zero", "nan")
"""What a split takes for a missing value, by its number in bits 2 and 3 of `decision_type`."""

IS_CATEGORICAL, IS_DEFAULT_LEFT, MISSING_FROM = 1, 2, 2
"""Bits of `decision_type`, and the position of those of `MISSING`."""

WORD = 32
"""Categories are kept as bits of words of this size."""

ZERO = float(np.float32(1e-35))
"""Numbers up to here, of either sign, are zero for LightGBM's predictor (kZeroThreshold)."""

Fields = dict[str, str]


class Unsupported(Exception):
    """A kind of model that is not read here; the text says which."""


@dataclass(frozen=True)
class Split:
    """A question about one feature; a row that meets it goes left."""

    feature: int
    threshold: float
    """A number goes left up to here."""
    categories: frozenset[int] | None
    """Categories that go left; None: the feature is a number."""
    missing: Missing
    default_left: bool
    """Where a missing number goes."""

    def goes_left(self, values: FloatArray) -> BoolArray:
        """Return for each value of the feature whether it goes left."""
        if self.categories is not None:
            # cut to whole numbers; the unknown, the missing and the negative go right
            is_category = (values > -1) & np.isfinite(values)
            codes = np.trunc(np.where(is_category, values, -1))
            return np.asarray(is_category & np.isin(codes, list(self.categories)))
        if self.missing != "nan":
            values = np.where(np.isnan(values), 0.0, values)
        is_zero = np.abs(values) <= ZERO
        left = np.where(is_zero, 0.0, values) <= self.threshold
        if self.missing == "none":
            return np.asarray(left)
        is_missing = is_zero if self.missing == "zero" else np.isnan(values)
        return np.where(is_missing, self.default_left, left)


@dataclass(frozen=True)
class Tree:
    """Splits, the root first, and leaves. A child is the number of a split, or ~ that of a leaf."""

    splits: tuple[Split, ...]
    left: tuple[int, ...]
    """Of each split."""
    right: tuple[int, ...]
    leaves: FloatArray
    """What each adds: to the log-odds of a yes, or to the number."""
    rows_of_splits: tuple[int, ...]
    """Training rows that came to each."""
    rows_of_leaves: tuple[int, ...]


@dataclass(frozen=True)
class Forest:
    """The trees of one model that predicts a number or a yes or no."""

    trees: tuple[Tree, ...]
    sigmoid: float | None
    """What log-odds are multiplied by before they become a probability; None: a number."""


def parse(text: str) -> Forest:
    """Return the trees that `text` describes.

    Raises:
        Unsupported: The model isn't one of plain trees for a number or a yes or no.
    """
    head, *parts = text.partition("end of trees")[0].split("\nTree=")
    blocks = [_fields(part) for part in parts]
    if any(block.get("is_linear", "0") != "0" for block in blocks):
        raise Unsupported("linear trees")
    return Forest(tuple(map(_tree, blocks)), _sigmoid(head))


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


def _tree(block: Fields) -> Tree:
    left, right, of_splits, of_leaves = (
        tuple(_array(block, name, np.int64).tolist())
        for name in ("left_child", "right_child", "internal_count", "leaf_count")
    )
    leaves = _array(block, "leaf_value", np.float64)
    return Tree(tuple(_splits(block)), left, right, leaves, of_splits, of_leaves)


def _splits(block: Fields) -> Iterator[Split]:
    """Yield the splits, root first; a tree of one leaf has none."""
    kinds, features = (_array(block, n, np.int64) for n in ("decision_type", "split_feature"))
    thresholds = _array(block, "threshold", np.float64)
    for kind, feature, threshold in zip(
        kinds.tolist(), features.tolist(), thresholds.tolist(), strict=True
    ):
        yield Split(
            feature=feature,
            threshold=threshold,
            categories=_categories(block, int(threshold)) if kind & IS_CATEGORICAL else None,
            missing=MISSING[kind >> MISSING_FROM],
            default_left=bool(kind & IS_DEFAULT_LEFT),
        )


def _categories(block: Fields, which: int) -> frozenset[int]:
    first, last = _array(block, "cat_boundaries", np.int64)[which : which + 2]
    words = _array(block, "cat_threshold", np.uint32)[first:last].tolist()
    return frozenset(
        position * WORD + bit
        for position, word in enumerate(words)
        for bit in range(WORD)
        if word >> bit & 1
    )


def _array(block: Fields, name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.array(block.get(name, "").split(), dtype=kind)
