"""Compiled trees say what LightGBM says, for whatever values and in whatever company."""

from itertools import pairwise
from unittest import mock

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring import tree_predictor
from models.scoring.lightgbm_text import Unsupported
from models.scoring.predictor import CompiledTrees, predictor
from models.scoring.subtree_cache import shared
from tests.helpers.boosted_models import CURVES, TREES, boosted, compiled, unseen

CLOSE = 1e-12


@given(
    seed=st.integers(0, 10_000),
    leaves=st.sampled_from([2, 8, 31, 32, 33, 64, 65, 200]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    max_cat_to_onehot=st.sampled_from([1, 4, 100]),
)
@settings(max_examples=40, deadline=None)
def test_every_leaf_is_the_one_that_lightgbm_finds(seed, leaves, **parameters):
    booster, matrix = boosted(seed, num_leaves=leaves, **parameters)
    rows = unseen(booster, matrix, seed)
    found = compiled(booster)
    assert len(found.tables) >= min(leaves - 1, 6), "too few features are asked about to show much"
    np.testing.assert_allclose(
        found.raw(rows), booster.predict(rows, raw_score=True), rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(found.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)


@pytest.fixture(scope="module", params=["trees_at_once", "curves_first"])
def pairs_like(request) -> tuple[lightgbm.Booster, np.ndarray]:
    """A model, and rows that repeat as those of pairs do: the same lead, product after product."""
    stages = {"trees_at_once": [(12, TREES)], "curves_first": [(120, CURVES), (6, TREES)]}
    booster, matrix = boosted(4, *stages[request.param])
    leads, products = np.repeat(np.arange(100), 40), np.tile(np.arange(100, 140), 100)
    random = np.random.default_rng(1)
    own = matrix[random.integers(0, len(matrix), len(leads))][:, [7]] + random.random((4000, 1))
    rows = np.hstack([matrix[leads][:, :4], matrix[products][:, 4:7], own])
    kept = random.random(len(rows)) < 0.7
    return booster, rows[kept]


def test_rows_that_share_values_are_found_and_looked_up_once(pairs_like):
    _, rows = pairs_like
    lead, product = shared(rows, list(range(8)))
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
@settings(max_examples=25, deadline=None)
def test_company_and_portions_change_no_bit(pairs_like, cuts, cells, together):
    booster, rows = pairs_like
    whole = compiled(booster).raw(rows)
    ends = [0, *sorted(cuts), len(rows)]
    with (
        mock.patch.object(tree_predictor, "CELLS_AT_ONCE", cells),
        mock.patch.object(tree_predictor, "CELLS_TOGETHER", together),
    ):
        parts = [compiled(booster).raw(rows[a:b]) for a, b in pairwise(ends)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_the_order_of_rows_changes_no_bit(pairs_like):
    booster, rows = pairs_like
    order = np.random.default_rng(2).permutation(len(rows))
    predict = compiled(booster).predict
    assert predict(rows[order]).tobytes() == predict(rows)[order].tobytes()


def test_columns_laid_out_either_way_give_the_same_bits(pairs_like):
    booster, rows = pairs_like
    predict = compiled(booster).predict
    assert predict(np.asfortranarray(rows)).tobytes() == predict(rows).tobytes()


def test_a_model_that_never_splits_says_the_same_of_all():
    matrix = np.zeros((200, 2))
    labels = np.arange(200) % 4 == 0
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1}, lightgbm.Dataset(matrix, labels), 3
    )
    np.testing.assert_allclose(compiled(booster).predict(matrix), booster.predict(matrix))


@pytest.mark.parametrize("objective", ["binary", "regression"])
def test_a_number_stays_a_number_and_log_odds_become_a_probability(objective):
    booster, matrix = boosted(5, objective=objective, sigmoid=1.7)
    np.testing.assert_allclose(
        compiled(booster).predict(matrix), booster.predict(matrix), rtol=0, atol=CLOSE
    )


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"objective": "poisson"}, "objective poisson"),
        ({"objective": "regression", "linear_tree": True}, "linear trees"),
        ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "averages its trees"),
    ],
)
def test_what_cannot_be_read_is_left_to_lightgbm(parameters, reason):
    booster, matrix = boosted(6, **parameters)
    with pytest.raises(Unsupported, match=reason):
        compiled(booster)
    predicted = predictor(booster.model_to_string())(matrix)
    assert np.array_equal(predicted, booster.predict(matrix))


def test_a_day_s_model_is_read_and_not_left_to_lightgbm(model_set, pairs):
    approval = model_set.estimators["approval"]
    matrix = approval.encoder.matrix(pairs)
    found = CompiledTrees.from_text(approval.trees).predict(matrix)
    expected = lightgbm.Booster(model_str=approval.trees).predict(matrix)
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)
    scored = model_set.score(pairs)["p_approve"].to_numpy()
    np.testing.assert_allclose(scored, approval.calibration(expected), rtol=0, atol=1e-9)
