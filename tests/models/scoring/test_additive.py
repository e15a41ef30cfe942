"""Trees of one feature are curves: they say what LightGBM says, with other trees or without."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.additive import addable
from models.scoring.predictor import CompiledTrees
from tests.helpers.boosted_models import (
    CATEGORIES,
    CURVES,
    NUMBERS,
    TREES,
    boosted,
    compiled,
    unseen,
)

CLOSE = 1e-12
ALONE = {"interaction_constraints": [[column] for column in range(NUMBERS + CATEGORIES)]}
"""A tree's splits all name the same feature."""


def features_of_curves(found: CompiledTrees) -> int:
    return sum(bool(table.answers.added.any()) for table in found.tables.values())


@given(
    seed=st.integers(0, 10_000),
    leaves=st.sampled_from([2, 3, 31, 65]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    max_cat_to_onehot=st.sampled_from([1, 4, 100]),
)
@settings(max_examples=25, deadline=None)
def test_curves_and_then_trees_say_what_lightgbm_says(seed, leaves, **parameters):
    curves = 60, CURVES | ALONE | {"num_leaves": leaves}
    booster, matrix = boosted(seed, curves, (6, TREES), **parameters)
    rows = unseen(booster, matrix, seed)
    found = compiled(booster)
    assert len(found.layout.all_leaves) <= 6, "what has one feature has no leaves among the bits"
    assert features_of_curves(found) >= 5
    np.testing.assert_allclose(
        found.raw(rows), booster.predict(rows, raw_score=True), rtol=0, atol=CLOSE
    )
    np.testing.assert_allclose(found.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)


@pytest.mark.parametrize(
    ("stages", "words", "curves"),
    [
        ([(40, CURVES)], 0, True),
        ([(1, CURVES)], 0, True),
        ([(12, TREES)], 12, False),
        ([(1, TREES)], 1, False),
        ([(1, CURVES), (1, TREES)], 1, True),
    ],
    ids=["curves only", "one stump", "trees only", "one tree", "one of each"],
)
def test_either_kind_of_trees_may_be_missing(stages, words, curves):
    booster, matrix = boosted(7, *stages)
    rows = unseen(booster, matrix, 7)
    found = compiled(booster)
    assert len(found.layout.all_leaves) == words
    assert (features_of_curves(found) > 0) is curves
    np.testing.assert_allclose(found.predict(rows), booster.predict(rows), rtol=0, atol=CLOSE)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.randoms())
def test_curves_are_added_in_any_order(values, random):
    rounded = [
        float(at[0]) for at in addable({f: np.array([v]) for f, v in enumerate(values)}).values()
    ]
    largest = sum(map(abs, values))
    np.testing.assert_allclose(rounded, values, rtol=0, atol=largest * 2.0**-52)
    total = sum(rounded)
    random.shuffle(rounded)
    assert sum(rounded) == total == math.fsum(rounded)
