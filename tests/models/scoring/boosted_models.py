"""Small LightGBM models, boosted in stages as in models/params.yml, and rows to predict."""

import lightgbm
import numpy as np

from models.params import params
from models.scoring.lightgbm_text import parse_model
from models.scoring.tree_predictor import TreePredictor

SPECIAL_VALUES = np.array(
    [0.0, -0.0, 1e-35, -1e-35, 2e-35, 1e-300, np.inf, -np.inf, np.nan, 1e300, -1.5, 7.9]
)
"""Values at the limits of LightGBM's rules for zero and missing values."""
NUMBERS, CATEGORIES = 5, 3
"""Columns of each kind, in this order."""

PARAMETERS = {
    "objective": "binary",
    "verbosity": -1,
    "num_threads": 1,
    "min_data_in_leaf": 5,
    "cat_smooth": 1,
    "min_data_per_group": 5,
}
ADDITIVE_STAGE, TREE_STAGE = (
    stage.boosting for stage in params().ensembles["additive_first"].stages
)
"""The LightGBM parameters of each stage."""


def train_booster(
    seed: int, *stages: tuple[int, dict], rows: int = 3000, **parameters
) -> tuple[lightgbm.Booster, np.ndarray]:
    """Return a model of numbers (some missing, some zero) and categories, and its training matrix.

    Each of `stages` is a number of trees and their LightGBM parameters.
    """
    random = np.random.default_rng(seed)
    numbers = np.round(random.normal(size=(rows, NUMBERS)), 1)
    numbers[random.random(numbers.shape) < 0.15] = np.nan
    numbers[random.random(numbers.shape) < 0.15] = 0.0
    categories = random.integers(0, [3, 12, 70], (rows, CATEGORIES)).astype(float)
    categories[random.random(categories.shape) < 0.1] = np.nan
    matrix = np.hstack([numbers, categories])
    log_odds = (
        np.nan_to_num(numbers, nan=1.5).sum(axis=1) + np.sin(categories[:, 1:]).sum(axis=1) * 2
    )
    labels = random.logistic(size=rows) < np.nan_to_num(log_odds, nan=-1)
    categorical = list(range(NUMBERS, NUMBERS + CATEGORIES))
    booster = None
    for count, of_stage in stages or [(12, {})]:
        settings = PARAMETERS | {"seed": seed} | parameters | of_stage
        data = lightgbm.Dataset(matrix, labels, categorical_feature=categorical, params=settings)
        booster = lightgbm.train(settings, data, count, init_model=booster)
    return booster, matrix


def make_tree_predictor(booster: lightgbm.Booster) -> TreePredictor:
    return TreePredictor.from_text(booster.model_to_string())


def make_rows(booster: lightgbm.Booster, matrix: np.ndarray, seed: int) -> np.ndarray:
    """Return training rows, with some thresholds, their neighbours and special values."""
    random = np.random.default_rng(seed)
    rows = matrix[random.integers(0, len(matrix), 1500)].copy()
    trees = parse_model(booster.model_to_string()).trees
    splits = [split for tree in trees for split in tree.splits]
    for column in range(rows.shape[1]):
        at = [split.threshold for split in splits if split.feature == column]
        edges = np.array(
            [*at, *np.nextafter(at, np.inf), *np.nextafter(at, -np.inf), *SPECIAL_VALUES]
        )
        edges = np.array([*SPECIAL_VALUES, *range(-2, 130), 1e6]) if column >= NUMBERS else edges
        replaced = random.random(len(rows)) < 0.3
        rows[replaced, column] = random.choice(edges, replaced.sum())
    categories = rows[:, NUMBERS:]  # LightGBM truncates them to 32 bits, so infinity is no category
    rows[:, NUMBERS:] = np.where(np.abs(categories) > 1e9, np.nan, categories)
    return rows
