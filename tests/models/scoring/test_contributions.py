"""Contributions summed leaf by leaf equal LightGBM's for any row."""

import lightgbm
import numpy as np
import pytest

from models.scoring.contributions import (
    MAX_TABLE_FEATURES,
    WORD_SPLITS,
    ContributionTables,
)
from models.scoring.lightgbm_text import parse_model

ROWS, NUMBERS = 2_000, 14
WIDTH = NUMBERS + 2


def make_rows(kind: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return rows with numbers, zeros, unknown values and categories, and their outcomes."""
    random = np.random.default_rng(3)
    numbers = random.normal(size=(ROWS, NUMBERS))
    numbers[random.random(numbers.shape) < 0.2] = 0.0
    if kind != "all known":
        numbers[random.random(numbers.shape) < 0.15] = np.nan
    categories = random.integers(0, 70, size=(ROWS, 2)).astype(float)
    categories[random.random(categories.shape) < 0.1] = np.nan
    filled = np.nan_to_num(numbers)
    pull = filled[:, 0] * (filled[:, 1] > 0) + np.nan_to_num(categories[:, 0]) % 7 - 3
    pull = pull + 0.7 * filled[:, 2:].sum(axis=1)
    outcomes = (random.logistic(size=ROWS) < pull).astype(float)
    return np.hstack([numbers, categories]), outcomes, [NUMBERS, NUMBERS + 1]


@pytest.mark.parametrize("kind", ["all known", "unknown", "zero is missing", "deep", "many splits"])
def test_contributions_equal_lightgbm(kind):
    matrix, outcomes, categories = make_rows(kind)
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "num_leaves": {"deep": 63, "many splits": 150}.get(kind, 15),
        "min_data_in_leaf": 5,
        "zero_as_missing": kind == "zero is missing",
        "feature_fraction": 0.6,
        "num_threads": 1,
        "min_data_per_group": 10,
    }
    data = lightgbm.Dataset(matrix, outcomes, categorical_feature=categories)
    booster = lightgbm.train(parameters, data, 30)
    text = booster.model_to_string()
    tables = ContributionTables.from_text(text)
    leaves = [leaf for tree in tables.trees for leaf in tree.leaves]
    assert booster.num_trees() == 30
    if kind == "deep":
        assert max(len(leaf.features) for leaf in leaves) > MAX_TABLE_FEATURES
    if kind == "many splits":
        assert max(len(tree.splits) for tree in tables.trees) > 2 * WORD_SPLITS
    if kind != "all known":
        assert any(split.categories for tree in parse_model(text).trees for split in tree.splits)
    odd = [np.full((1, WIDTH), value) for value in (np.nan, 1e9, -7.0, 0.0)]
    new = np.vstack([matrix, *odd])
    expected = booster.predict(new, pred_contrib=True)[:, :-1]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(tables.compute(new), expected, atol=1e-9, rtol=0)


def test_contributions_of_a_row_have_the_same_bits_in_any_batch():
    matrix, outcomes, categories = make_rows("unknown")
    data = lightgbm.Dataset(matrix, outcomes, categorical_feature=categories)
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_leaves": 63}, data, 20)
    tables = ContributionTables.from_text(booster.model_to_string())
    together = tables.compute(matrix)
    alone = np.vstack([tables.compute(matrix[row : row + 1]) for row in range(0, ROWS, 97)])
    assert alone.tobytes() == together[::97].tobytes()


def test_no_rows_and_constant_trees_have_no_contributions():
    matrix, outcomes, _ = make_rows("all known")
    constant = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "min_data_in_leaf": ROWS},
        lightgbm.Dataset(matrix, outcomes),
        3,
    )
    tables = ContributionTables.from_text(constant.model_to_string())
    assert not tables.compute(matrix).any()
    assert tables.compute(matrix[:0]).shape == (0, WIDTH)
