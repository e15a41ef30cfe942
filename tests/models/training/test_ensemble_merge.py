"""Several models become one: LightGBM reads it, and it says their mean."""

import lightgbm
import numpy as np
import pytest

from models.training import ensemble_merge


def model(seed: int) -> lightgbm.Booster:
    """Return a small model of two numbers and a category."""
    chance = np.random.default_rng(seed)
    matrix = np.column_stack([chance.normal(size=(500, 2)), chance.integers(0, 9, 500)])
    labels = (matrix[:, 0] + (matrix[:, 2] > 4) + chance.normal(size=500) > 0).astype(float)
    told = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(told, lightgbm.Dataset(matrix, labels, categorical_feature=[2]), 7)


@pytest.fixture(scope="module")
def members() -> list[lightgbm.Booster]:
    return [model(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def mean(members) -> lightgbm.Booster:
    return lightgbm.Booster(
        model_str=ensemble_merge.mean([one.model_to_string() for one in members])
    )


ASKED = np.column_stack([np.random.default_rng(9).normal(size=(40, 2)), np.arange(40) % 11])


def test_the_mean_scores_as_its_members_do_on_average(members, mean):
    expected = np.mean([one.predict(ASKED, raw_score=True) for one in members], axis=0)
    np.testing.assert_allclose(mean.predict(ASKED, raw_score=True), expected, rtol=0, atol=1e-12)
    assert mean.num_trees() == 21


def test_contributions_of_the_mean_add_up_to_its_score(mean):
    parts = mean.predict(ASKED, pred_contrib=True).sum(axis=1)
    np.testing.assert_allclose(parts, mean.predict(ASKED, raw_score=True), atol=1e-9)


def test_the_mean_of_one_model_scores_to_the_last_bit_as_it_does(members):
    alone = lightgbm.Booster(model_str=ensemble_merge.mean([members[0].model_to_string()]))
    assert alone.predict(ASKED).tobytes() == members[0].predict(ASKED).tobytes()
