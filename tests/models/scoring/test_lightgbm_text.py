"""The average of several models is a model that LightGBM reads."""

import lightgbm
import numpy as np
import pytest

from models.scoring.lightgbm_text import average_models


def model(seed: int) -> lightgbm.Booster:
    """Return a small model of two numbers and a category."""
    chance = np.random.default_rng(seed)
    matrix = np.column_stack([chance.normal(size=(500, 2)), chance.integers(0, 9, 500)])
    labels = (matrix[:, 0] + (matrix[:, 2] > 4) + chance.normal(size=500) > 0).astype(float)
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(parameters, lightgbm.Dataset(matrix, labels, categorical_feature=[2]), 7)


@pytest.fixture(scope="module")
def members() -> list[lightgbm.Booster]:
    return [model(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def mean(members) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=average_models([one.model_to_string() for one in members]))


ROWS = np.column_stack([np.random.default_rng(9).normal(size=(40, 2)), np.arange(40) % 11])


def test_average_scores_as_the_mean_of_its_members(members, mean):
    expected = np.mean([one.predict(ROWS, raw_score=True) for one in members], axis=0)
    np.testing.assert_allclose(mean.predict(ROWS, raw_score=True), expected, rtol=0, atol=1e-12)
    assert mean.num_trees() == 21


def test_contributions_of_the_average_sum_to_its_score(mean):
    parts = mean.predict(ROWS, pred_contrib=True).sum(axis=1)
    np.testing.assert_allclose(parts, mean.predict(ROWS, raw_score=True), atol=1e-9)


def test_average_of_one_model_has_the_same_bits(members):
    alone = lightgbm.Booster(model_str=average_models([members[0].model_to_string()]))
    assert alone.predict(ROWS).tobytes() == members[0].predict(ROWS).tobytes()
