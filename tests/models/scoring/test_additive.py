"""Trees with one feature become curves, with the predictions of LightGBM."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.lookup_tables import round_curves
from models.scoring.tree_predictor import TreePredictor
from tests.models.scoring.boosted_models import (
    ADDITIVE_STAGE,
    CATEGORIES,
    NUMBERS,
    TREE_STAGE,
    make_rows,
    make_tree_predictor,
    train_booster,
)

CLOSE = 1e-12
ONE_FEATURE = {"interaction_constraints": [[column] for column in range(NUMBERS + CATEGORIES)]}
"""Parameters by which a tree has one feature only."""


def count_curves(predictor: TreePredictor) -> int:
    return sum(bool(table.scores.curve.any()) for table in predictor.tables.values())


@given(
    seed=st.integers(0, 10_000),
    leaves=st.sampled_from([2, 3, 31, 65]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    max_cat_to_onehot=st.sampled_from([1, 4, 100]),
)
@settings(max_examples=25, deadline=None)
def test_additive_stage_and_trees_predict_as_lightgbm(seed, leaves, **parameters):
    curves = 60, ADDITIVE_STAGE | ONE_FEATURE | {"num_leaves": leaves}
    booster, matrix = train_booster(seed, curves, (6, TREE_STAGE), **parameters)
    rows = make_rows(booster, matrix, seed)
    predictor = make_tree_predictor(booster)
    assert len(predictor.layout.all_leaves) <= 6, "a tree with one feature needs no leaf bits"
    assert count_curves(predictor) >= 5
    np.testing.assert_allclose(
        predictor.predict_raw(rows), booster.predict(rows, raw_score=True), rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(predictor.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)


@pytest.mark.parametrize(
    ("stages", "words", "curves"),
    [
        ([(40, ADDITIVE_STAGE)], 0, True),
        ([(1, ADDITIVE_STAGE)], 0, True),
        ([(12, TREE_STAGE)], 12, False),
        ([(1, TREE_STAGE)], 1, False),
        ([(1, ADDITIVE_STAGE), (1, TREE_STAGE)], 1, True),
    ],
    ids=["curves only", "one stump", "trees only", "one tree", "one of each"],
)
def test_either_kind_of_trees_may_be_absent(stages, words, curves):
    booster, matrix = train_booster(7, *stages)
    rows = make_rows(booster, matrix, 7)
    predictor = make_tree_predictor(booster)
    assert len(predictor.layout.all_leaves) == words
    assert (count_curves(predictor) > 0) is curves
    np.testing.assert_allclose(predictor.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.randoms())
def test_rounded_curves_have_an_exact_sum_in_any_order(values, random):
    rounded = [
        float(at[0])
        for at in round_curves({f: np.array([v]) for f, v in enumerate(values)}).values()
    ]
    largest = sum(map(abs, values))
    np.testing.assert_allclose(rounded, values, rtol=0, atol=largest * 2.0**-52)
    total = sum(rounded)
    random.shuffle(rounded)
    assert sum(rounded) == total == math.fsum(rounded)
