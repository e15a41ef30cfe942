"""Compiled trees say what LightGBM says, for whatever values and in whatever company."""

from itertools import pairwise

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compiled import CompiledTrees, Unsupported
from models.compiled.sharing import shared
from models.compiled.text import parse

CLOSE = 1e-12
ODD = np.array([0.0, -0.0, 1e-35, -1e-35, 2e-35, 1e-300, np.inf, -np.inf, np.nan, 1e300, -1.5, 7.9])
"""Values at the edges of what a split tells apart."""
NUMBERS, CATEGORIES = 5, 3


def boosted(seed: int, rows: int = 3000, **params) -> tuple[lightgbm.Booster, np.ndarray]:
    """Return a model of numbers with gaps and zeros and of categories, and what it learned from."""
    random = np.random.default_rng(seed)
    numbers = np.round(random.normal(size=(rows, NUMBERS)), 1)
    numbers[random.random(numbers.shape) < 0.15] = np.nan
    numbers[random.random(numbers.shape) < 0.15] = 0.0
    categories = random.integers(0, [3, 12, 70], (rows, CATEGORIES)).astype(float)
    categories[random.random(categories.shape) < 0.1] = np.nan
    matrix = np.hstack([numbers, categories])
    pull = np.nan_to_num(numbers, nan=1.5).sum(axis=1) + np.sin(categories[:, 1:]).sum(axis=1) * 2
    labels = random.logistic(size=rows) < np.nan_to_num(pull, nan=-1)
    stated = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "min_data_in_leaf": 5,
        "cat_smooth": 1,
        "min_data_per_group": 5,
        "seed": seed,
    }
    which = list(range(NUMBERS, NUMBERS + CATEGORIES))
    data = lightgbm.Dataset(matrix, labels, categorical_feature=which)
    return lightgbm.train(stated | params, data, 12), matrix


def compiled(booster: lightgbm.Booster) -> CompiledTrees:
    return CompiledTrees.from_text(booster.model_to_string())


def unseen(booster: lightgbm.Booster, matrix: np.ndarray, seed: int) -> np.ndarray:
    """Return rows that mix what was learned from with thresholds, their neighbours and odd ones."""
    random = np.random.default_rng(seed)
    rows = matrix[random.integers(0, len(matrix), 1500)].copy()
    for column in range(rows.shape[1]):
        at = [s.threshold for s in parse(booster.model_to_string()).splits if s.feature == column]
        edges = np.array([*at, *np.nextafter(at, np.inf), *np.nextafter(at, -np.inf), *ODD])
        edges = np.array([*ODD, *range(-2, 130), 1e6]) if column >= NUMBERS else edges
        chosen = random.random(len(rows)) < 0.3
        rows[chosen, column] = random.choice(edges, chosen.sum())
    categories = rows[:, NUMBERS:]  # LightGBM cuts them to 32 bits, so infinity means no category
    rows[:, NUMBERS:] = np.where(np.abs(categories) > 1e9, np.nan, categories)
    return rows


@given(
    seed=st.integers(0, 10_000),
    leaves=st.sampled_from([2, 8, 31, 32, 33, 64, 65, 200]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    max_cat_to_onehot=st.sampled_from([1, 4, 100]),
)
@settings(max_examples=40, deadline=None)
def test_every_leaf_is_the_one_that_lightgbm_finds(seed, leaves, **params):
    booster, matrix = boosted(seed, num_leaves=leaves, **params)
    rows = unseen(booster, matrix, seed)
    trees = compiled(booster)
    assert max(tree.num_leaves for tree in trees_of(booster)) > leaves // 3
    np.testing.assert_allclose(
        trees.raw(rows), booster.predict(rows, raw_score=True), rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(trees.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)
