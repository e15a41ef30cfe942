"""Models of few trees, boosted in stages as models/params.yml does, and rows to ask them about."""

import lightgbm
import numpy as np

from models.params import params
from models.scoring.lightgbm_text import parse
from models.scoring.predictor import CompiledTrees

ODD = np.array([0.0, -0.0, 1e-35, -1e-35, 2e-35, 1e-300, np.inf, -np.inf, np.nan, 1e300, -1.5, 7.9])
"""Values at the edges of what a split tells apart."""
NUMBERS, CATEGORIES = 5, 3
"""Columns of each kind, in this order."""

STATED = {
    "objective": "binary",
    "verbosity": -1,
    "num_threads": 1,
    "min_data_in_leaf": 5,
    "cat_smooth": 1,
    "min_data_per_group": 5,
}
CURVES, TREES = (stage.boosting for stage in params().shapes["curves_first"].stages)
"""What is special about the stages."""


def boosted(
    seed: int, *stages: tuple[int, dict], rows: int = 3000, **parameters
) -> tuple[lightgbm.Booster, np.ndarray]:
    """Return a model of numbers with gaps and zeros and of categories, and what it learned from.

    Each of `stages` is a number of trees and what is special about them.
    """
    random = np.random.default_rng(seed)
    numbers = np.round(random.normal(size=(rows, NUMBERS)), 1)
    numbers[random.random(numbers.shape) < 0.15] = np.nan
    numbers[random.random(numbers.shape) < 0.15] = 0.0
    categories = random.integers(0, [3, 12, 70], (rows, CATEGORIES)).astype(float)
    categories[random.random(categories.shape) < 0.1] = np.nan
    matrix = np.hstack([numbers, categories])
    pull = np.nan_to_num(numbers, nan=1.5).sum(axis=1) + np.sin(categories[:, 1:]).sum(axis=1) * 2
    labels = random.logistic(size=rows) < np.nan_to_num(pull, nan=-1)
    which = list(range(NUMBERS, NUMBERS + CATEGORIES))
    booster = None
    for count, special in stages or [(12, {})]:
        told = STATED | {"seed": seed} | parameters | special
        data = lightgbm.Dataset(matrix, labels, categorical_feature=which, params=told)
        booster = lightgbm.train(told, data, count, init_model=booster)
    return booster, matrix


def compiled(booster: lightgbm.Booster) -> CompiledTrees:
    return CompiledTrees.from_text(booster.model_to_string())


def unseen(booster: lightgbm.Booster, matrix: np.ndarray, seed: int) -> np.ndarray:
    """Return rows that mix what was learned from with thresholds, their neighbours and odd ones."""
    random = np.random.default_rng(seed)
    rows = matrix[random.integers(0, len(matrix), 1500)].copy()
    trees_read = parse(booster.model_to_string()).trees
    splits = [split for tree in trees_read for split in tree.splits]
    for column in range(rows.shape[1]):
        at = [split.threshold for split in splits if split.feature == column]
        edges = np.array([*at, *np.nextafter(at, np.inf), *np.nextafter(at, -np.inf), *ODD])
        edges = np.array([*ODD, *range(-2, 130), 1e6]) if column >= NUMBERS else edges
        chosen = random.random(len(rows)) < 0.3
        rows[chosen, column] = random.choice(edges, chosen.sum())
    categories = rows[:, NUMBERS:]  # LightGBM cuts them to 32 bits, so infinity means no category
    rows[:, NUMBERS:] = np.where(np.abs(categories) > 1e9, np.nan, categories)
    return rows
