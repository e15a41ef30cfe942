"""The tree predictor gives LightGBM's predictions for any values and in any batch."""

from itertools import pairwise
from unittest import mock

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring import tree_predictor
from models.scoring.lightgbm_text import UnsupportedModel
from models.scoring.tree_predictor import TreePredictor, find_shared_columns, make_predictor
from tests.models.scoring.boosted_models import (
    ADDITIVE_STAGE,
    TREE_STAGE,
    make_rows,
    make_tree_predictor,
    train_booster,
)

CLOSE = 1e-12


@given(
    seed=st.integers(0, 10_000),
    leaves=st.sampled_from([2, 8, 31, 32, 33, 64, 65, 200]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    max_cat_to_onehot=st.sampled_from([1, 4, 100]),
)
@settings(max_examples=15, deadline=None)
def test_every_leaf_is_the_one_of_lightgbm(seed, leaves, **parameters):
    booster, matrix = train_booster(seed, num_leaves=leaves, **parameters)
    rows = make_rows(booster, matrix, seed)
    predictor = make_tree_predictor(booster)
    assert len(predictor.tables) >= min(leaves - 1, 6), (
        "the model has too few features for this test"
    )
    np.testing.assert_allclose(
        predictor.predict_raw(rows), booster.predict(rows, raw_score=True), rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(predictor.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)


@pytest.fixture(scope="module", params=["trees_only", "additive_first"])
def pairs_like(request) -> tuple[lightgbm.Booster, np.ndarray]:
    """A model, and rows that repeat like pairs: the same lead, product after product."""
    stages = {
        "trees_only": [(12, TREE_STAGE)],
        "additive_first": [(120, ADDITIVE_STAGE), (6, TREE_STAGE)],
    }
    booster, matrix = train_booster(4, *stages[request.param])
    leads, products = np.repeat(np.arange(100), 40), np.tile(np.arange(100, 140), 100)
    random = np.random.default_rng(1)
    own = matrix[random.integers(0, len(matrix), len(leads))][:, [7]] + random.random((4000, 1))
    rows = np.hstack([matrix[leads][:, :4], matrix[products][:, 4:7], own])
    is_pair = random.random(len(rows)) < 0.7
    return booster, rows[is_pair]


def test_shared_columns_are_detected(pairs_like):
    _, rows = pairs_like
    lead, product = find_shared_columns(rows, list(range(8)))
    assert (lead.columns, len(lead.first)) == ((0, 1, 2, 3), 100)
    assert set(product.columns) == {4, 5, 6}
    assert len(product.first) <= 40
    for group in (lead, product):
        for column in group.columns:
            assert np.array_equal(
                rows[group.first[group.codes], column], rows[:, column], equal_nan=True
            )


@given(
    cuts=st.lists(st.integers(0, 2700), max_size=4),
    cells=st.sampled_from([1, 13, 1000, 1 << 16]),
    together=st.sampled_from([200, 30_000, 1 << 24]),
)
@settings(max_examples=10, deadline=None)
def test_batches_and_portions_change_no_bit(pairs_like, cuts, cells, together):
    booster, rows = pairs_like
    whole = make_tree_predictor(booster).predict_raw(rows)
    ends = [0, *sorted(cuts), len(rows)]
    with (
        mock.patch.object(tree_predictor, "BLOCK_CELLS", cells),
        mock.patch.object(tree_predictor, "PORTION_CELLS", together),
    ):
        parts = [make_tree_predictor(booster).predict_raw(rows[a:b]) for a, b in pairwise(ends)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_order_of_rows_changes_no_bit(pairs_like):
    booster, rows = pairs_like
    order = np.random.default_rng(2).permutation(len(rows))
    predict = make_tree_predictor(booster).predict
    assert predict(rows[order]).tobytes() == predict(rows)[order].tobytes()


def test_memory_layout_changes_no_bit(pairs_like):
    booster, rows = pairs_like
    predict = make_tree_predictor(booster).predict
    assert predict(np.asfortranarray(rows)).tobytes() == predict(rows).tobytes()


def test_model_without_splits_is_constant():
    matrix = np.zeros((200, 2))
    labels = np.arange(200) % 4 == 0
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1}, lightgbm.Dataset(matrix, labels), 3
    )
    np.testing.assert_allclose(
        make_tree_predictor(booster).predict(matrix), booster.predict(matrix)
    )


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_regression_and_binary_models_are_supported(objective):
    booster, matrix = train_booster(5, objective=objective, sigmoid=1.7)
    np.testing.assert_allclose(
        make_tree_predictor(booster).predict(matrix), booster.predict(matrix), rtol=0, atol=CLOSE
    )


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"objective": "poisson"}, "objective poisson"),
        ({"objective": "regression", "linear_tree": True}, "linear trees"),
        ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "averaged output"),
    ],
)
def test_unsupported_model_is_predicted_by_lightgbm(parameters, reason):
    booster, matrix = train_booster(6, **parameters)
    with pytest.raises(UnsupportedModel, match=reason):
        make_tree_predictor(booster)
    predicted = make_predictor(booster.model_to_string()).predict(matrix)
    assert np.array_equal(predicted, booster.predict(matrix))


def test_model_of_a_day_is_supported(model_set, pairs):
    approval = model_set.estimators["approval"]
    matrix = approval.encoder.encode(pairs)
    predictor = TreePredictor.from_text(approval.trees).predict(matrix)
    expected = lightgbm.Booster(model_str=approval.trees).predict(matrix)
    np.testing.assert_allclose(predictor, expected, rtol=0, atol=CLOSE)
    scored = model_set.score(pairs)["p_approve"].to_numpy()
    np.testing.assert_allclose(scored, approval.calibration(expected), rtol=0, atol=1e-9)
