"""Scores with features at other values are the ones of the changed rows, to the last bit."""

import numpy as np
import pytest

from models.scoring.substitution import FeatureGroups, Substitution
from tests.models.scoring.boosted_models import (
    ADDITIVE_STAGE,
    TREE_STAGE,
    make_rows,
    make_tree_predictor,
    train_booster,
)

GROUPS = np.array([0, 1, 1, 2, 0, 2, 2, 3])


@pytest.fixture(scope="module", params=["trees_only", "additive_first", "wide"])
def model(request):
    stages = {
        "trees_only": [(12, TREE_STAGE)],
        "additive_first": [(120, ADDITIVE_STAGE), (6, TREE_STAGE)],
        "wide": [(5, {"num_leaves": 100})],
    }
    booster, matrix = train_booster(7, *stages[request.param])
    rows = make_rows(booster, matrix, 7)
    return make_tree_predictor(booster), rows


def test_a_changed_group_is_scored_as_in_the_changed_rows(model):
    predictor, rows = model
    random = np.random.default_rng(1)
    features = FeatureGroups(predictor, GROUPS)
    substitution = Substitution(features, rows)
    assert substitution.scores.tobytes() == predictor.predict_raw(rows).tobytes()
    values = rows[random.integers(0, len(rows), 5)]
    some = random.permutation(len(rows))[: len(rows) // 2]
    groups, of_row = (random.integers(0, high, len(some)) for high in (4, 5))
    changed = np.where(GROUPS[None, :] == groups[:, None], values[of_row], rows[some])
    scores = substitution.change_groups(some, groups, features.score(values), of_row)
    assert scores.tobytes() == predictor.predict_raw(changed).tobytes()
    assert (scores != substitution.scores[some]).mean() > 0.5
    nobody = np.empty(0, np.int64)
    assert len(substitution.change_groups(nobody, nobody, features.score(values), nobody)) == 0


def test_a_changed_feature_is_scored_as_in_the_changed_rows(model):
    predictor, rows = model
    random = np.random.default_rng(2)
    features = FeatureGroups(predictor, GROUPS)
    substitution = Substitution(features, rows)
    values = rows[random.integers(0, len(rows), 3)]
    some = random.permutation(len(rows))[: len(rows) // 2]
    named, of_row = (random.integers(0, high, len(some)) for high in (len(GROUPS), 3))
    changed = rows[some]
    changed[np.arange(len(some)), named] = values[of_row, named]
    scores = substitution.change_features(some, named, features.score(values), of_row)
    assert scores.tobytes() == predictor.predict_raw(changed).tobytes()
    assert (scores != substitution.scores[some]).mean() > 0.3
