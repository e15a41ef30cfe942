"""LightGBM's text format: parse a model into its trees, and merge several models into one.

Format as `Booster.model_to_string` of LightGBM 4 writes it: a header, a block of lines for each
tree that begins with `Tree=NUMBER`, `end of trees`, and parameters. Decisions at splits follow
LightGBM's predictor.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray

Missing = Literal["none", "zero", "nan"]
MISSING: tuple[Missing, ...] = ("none", "zero", "nan")
"""The kind of value that a split treats as missing, by bits 2 and 3 of `decision_type`."""

IS_CATEGORICAL, IS_DEFAULT_LEFT, MISSING_FROM = 1, 2, 2
"""Bits of `decision_type`, and the position of the bits of `MISSING`."""

WORD = 32
"""Bits of one word of a set of categories."""

ZERO = float(np.float32(1e-35))
"""Largest absolute value that LightGBM's predictor treats as zero (kZeroThreshold)."""

Fields = dict[str, str]


FIRST_TREE = "Tree=0\n"
END_OF_TREES = "end of trees\n"
TREE_SIZES = re.compile(r"^tree_sizes=.*$", re.MULTILINE)
TREE_VALUES = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)
TREE_NUMBER = re.compile(r"^Tree=\d+\n")


class UnsupportedModel(Exception):
    """A kind of model that the parser does not read; the text names it."""


@dataclass(frozen=True)
class TreeSplit:
    """A condition on one feature; a row that meets it goes left."""

    feature: int
    threshold: float
    """Largest number that goes left."""
    categories: frozenset[int] | None
    """Categories that go left; None: the feature is a number."""
    missing: Missing
    default_left: bool
    """True if a missing number goes left."""

    def goes_left(self, values: FloatArray) -> BoolArray:
        """Return for each value of the feature whether it goes left."""
        if self.categories is not None:
            # truncated to integers; unknown, missing and negative values go right
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
    """Splits, the root first, and leaves. A child is a split's number, or ~ a leaf's number."""

    splits: tuple[TreeSplit, ...]
    left: tuple[int, ...]
    """The left child of each split."""
    right: tuple[int, ...]
    leaves: FloatArray
    """The value of each: a summand of the log-odds, or of the predicted number."""
    rows_of_splits: tuple[int, ...]
    """Training rows that reached each."""
    rows_of_leaves: tuple[int, ...]


@dataclass(frozen=True)
class ParsedModel:
    """The trees of one regression or binary model."""

    trees: tuple[Tree, ...]
    sigmoid: float | None
    """Scale of the log-odds before the sigmoid; None: the model is a regression."""


def parse_model(text: str) -> ParsedModel:
    """Return the trees that `text` describes.

    Raises:
        UnsupportedModel: The model is no regression or binary model of trees with constant leaves.
    """
    head, *parts = text.partition("end of trees")[0].split("\nTree=")
    blocks = [_parse_fields(part) for part in parts]
    if any(block.get("is_linear", "0") != "0" for block in blocks):
        raise UnsupportedModel("linear trees")
    return ParsedModel(tuple(map(_parse_tree, blocks)), _parse_sigmoid(head))


def _parse_fields(part: str) -> Fields:
    pairs = (line.partition("=") for line in part.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _parse_sigmoid(head: str) -> float | None:
    if "average_output" in head.splitlines():
        raise UnsupportedModel("a forest with averaged output")
    objective = _parse_fields(head).get("objective", "none")
    if objective == "regression":
        return None
    kind, _, sigmoid = objective.partition(" sigmoid:")
    if kind != "binary":
        raise UnsupportedModel(f"objective {objective}")
    return float(sigmoid)


def _parse_tree(block: Fields) -> Tree:
    left, right, of_splits, of_leaves = (
        tuple(_parse_array(block, name, np.int64).tolist())
        for name in ("left_child", "right_child", "internal_count", "leaf_count")
    )
    leaves = _parse_array(block, "leaf_value", np.float64)
    return Tree(tuple(_parse_splits(block)), left, right, leaves, of_splits, of_leaves)


def _parse_splits(block: Fields) -> Iterator[TreeSplit]:
    """Yield the splits, root first; a tree of one leaf has none."""
    kinds, features = (_parse_array(block, n, np.int64) for n in ("decision_type", "split_feature"))
    thresholds = _parse_array(block, "threshold", np.float64)
    for kind, feature, threshold in zip(
        kinds.tolist(), features.tolist(), thresholds.tolist(), strict=True
    ):
        yield TreeSplit(
            feature=feature,
            threshold=threshold,
            categories=_parse_categories(block, int(threshold)) if kind & IS_CATEGORICAL else None,
            missing=MISSING[kind >> MISSING_FROM],
            default_left=bool(kind & IS_DEFAULT_LEFT),
        )


def _parse_categories(block: Fields, which: int) -> frozenset[int]:
    first, last = _parse_array(block, "cat_boundaries", np.int64)[which : which + 2]
    words = _parse_array(block, "cat_threshold", np.uint32)[first:last].tolist()
    return frozenset(
        position * WORD + bit
        for position, word in enumerate(words)
        for bit in range(WORD)
        if word >> bit & 1
    )


def _parse_array(block: Fields, name: str, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    return np.array(block.get(name, "").split(), dtype=kind)


def average_models(texts: Sequence[str]) -> str:
    """Return one model whose raw score is the mean of the raw scores of `texts`.

    All have the same columns. Header and parameters are the first model's.
    """
    blocks = [_scale_tree(block, 1 / len(texts)) for text in texts for block in _tree_blocks(text)]
    numbered = [TREE_NUMBER.sub(f"Tree={index}\n", block) for index, block in enumerate(blocks)]
    first = texts[0]
    head, tail = first[: first.index(FIRST_TREE)], first[first.index(END_OF_TREES) :]
    sizes = " ".join(f"{len(block.encode())}" for block in numbered)
    return TREE_SIZES.sub(f"tree_sizes={sizes}", head) + "".join(numbered) + tail


def _tree_blocks(text: str) -> list[str]:
    trees = text[text.index(FIRST_TREE) : text.index(END_OF_TREES)]
    return [f"Tree={block}" for block in trees.split("Tree=")[1:]]


def _scale_tree(block: str, factor: float) -> str:
    if factor == 1:
        return block
    return TREE_VALUES.sub(lambda line: f"{line[1]}={_scale_values(line[2], factor)}", block)


def _scale_values(values: str, factor: float) -> str:
    return " ".join(f"{float(value) * factor:.17g}" for value in values.split())
