"""Scores are a function of the row alone; reasons are the exact contributions of the trees."""

import json
from dataclasses import replace
from itertools import pairwise

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations import policy
from models import model_set as scoring
from models.champion import registry
from models.errors import MissingColumns
from models.params import params
from models.scoring.estimators import Prior, TrainedModel
from models.training.fit_model import fit
from models.validation import splits
from tests.helpers.trained_market import AS_OF

PROBABILITIES = ["pd", "p_approve", "p_fund"]


def bits(table: pa.Table) -> list[bytes]:
    return [table[name].to_numpy().tobytes() for name in PROBABILITIES]


@pytest.fixture(scope="module")
def scored(model_set, pairs) -> pa.Table:
    return model_set.score(pairs)


def test_three_probabilities_are_added_to_every_pair(pairs, scored):
    assert scored.column_names == pairs.column_names + PROBABILITIES
    for name in PROBABILITIES:
        ends = pc.min_max(scored[name]).as_py()
        assert scored[name].null_count == 0
        assert 0 < ends["min"] <= ends["max"] < 1


def test_mean_approval_probability_equals_the_base_rate(market, model_set, pairs):
    predicted = model_set.score(pairs)["p_approve"].to_numpy()
    assert predicted.mean() == pytest.approx(
        registry.load_metadata(market, AS_OF)["approval"]["figures"]["base_rate"], abs=0.05
    )


@given(cuts=st.lists(st.integers(0, 4000), max_size=5), rows_at_once=st.integers(1, 5000))
@settings(max_examples=15, deadline=None)
def test_batches_change_no_bit(model_set, pairs, scored, cuts, rows_at_once):
    ends = [0, *sorted(cuts), pairs.num_rows]
    before, scoring.BATCH_ROWS = scoring.BATCH_ROWS, max(rows_at_once, 200)
    try:
        parts = [model_set.score(pairs.slice(a, b - a)) for a, b in pairwise(ends)]
    finally:
        scoring.BATCH_ROWS = before
    assert bits(pa.concat_tables(parts)) == bits(scored)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_change_no_bit(model_set, pairs, scored, threads):
    assert bits(replace(model_set, threads=threads).score(pairs)) == bits(scored)


def test_the_order_of_rows_changes_no_bit(model_set, pairs, scored):
    order = np.random.default_rng(2).permutation(pairs.num_rows)
    assert bits(model_set.score(pairs.take(order))) == bits(scored.take(order))


def test_protected_attributes_change_no_bit(model_set, pairs, scored):
    extended = pairs.append_column("gender", pa.array(["f", "m"] * (pairs.num_rows // 2)))
    extended = extended.append_column("ethnicity", pa.array(["a", "b"] * (pairs.num_rows // 2)))
    assert bits(model_set.score(extended)) == bits(scored)


def test_the_risk_of_a_lead_is_the_same_with_and_without_a_product(model_set, pairs, scored):
    products = {*params().features["product"].names} - {"amount_min"}
    alone = pairs.drop_columns([name for name in products if name in pairs.column_names])
    assert model_set.score_leads(alone)["pd"].equals(scored["pd"])


def test_a_given_risk_stays(model_set, pairs):
    given_pd = pairs.append_column("pd", pa.array(np.full(pairs.num_rows, 0.5)))
    assert set(model_set.score(given_pd)["pd"].to_pylist()) == {0.5}


def test_no_pairs_give_no_scores(model_set, pairs):
    empty = model_set.score(pairs.slice(0, 0))
    assert empty.num_rows == 0
    assert empty.column_names[-3:] == PROBABILITIES
    assert len(model_set.reasons(pairs.slice(0, 0))) == 0


def test_a_missing_column_is_named(model_set, pairs):
    with pytest.raises(MissingColumns, match="bureau_score"):
        model_set.score(pairs.drop_columns(["bureau_score"]))


def test_a_stored_model_scores_as_the_trained_one(market, model_set, pairs):
    approval = model_set.estimators["approval"]
    text = json.loads(json.dumps(approval.as_dict()))
    again = TrainedModel.from_dict(text, approval.trees)
    assert np.array_equal(again.predict(pairs, threads=1), approval.predict(pairs, threads=2))


def test_every_pair_has_one_to_three_known_reasons(model_set, pairs):
    reasons = model_set.reasons(pairs).to_pylist()
    known = {reason.code for reason in policy.reasons()}
    assert len(reasons) == pairs.num_rows
    assert all(1 <= len(codes) <= params().max_reasons for codes in reasons)
    assert {code for codes in reasons for code in codes} <= known


def test_contributions_add_up_to_the_log_odds_of_the_trees(model_set, pairs):
    approval = model_set.estimators["approval"]
    matrix = approval.encoder.encode(pairs)
    booster = lightgbm.Booster(model_str=approval.trees)
    added = approval.contributions(pairs, threads=2).sum(axis=1)
    base = booster.predict(matrix, raw_score=True) - added
    np.testing.assert_allclose(base, base[0], atol=1e-9)


def test_the_prior_of_a_lead_is_that_of_its_segment_and_score_band():
    leads = pa.table(
        {
            "segment": ["consumer", "consumer", "consumer", "business", "business"],
            "bureau_score": pa.array([None, 549.0, 550.0, 900.0, None]),
            "pd": [0.06, 0.18, 0.11, 0.015, 0.08],
            "pd_max": pa.array([None] * 5, pa.float64()),
        }
    )
    assert Prior("risk", "").predict(leads, threads=1).tolist() == [0.06, 0.18, 0.11, 0.015, 0.08]
    assert Prior("approval", "").predict(leads, threads=1).tolist() == pytest.approx(
        [0.35] * 3 + [0.4] * 2
    )
    assert Prior("take_up", "").predict(leads, threads=1).tolist() == [0.6] * 3 + [0.7] * 2


def test_the_prior_of_an_approval_falls_toward_the_risk_limit_of_the_product():
    pairs = pa.table(
        {
            "segment": ["consumer"] * 5,
            "pd": [0.01, 0.019, 0.021, 0.05, 0.2],
            "pd_max": [0.1] * 5,
        }
    )
    approves = Prior("approval", "").predict(pairs, threads=1)
    assert approves[0] == approves[1] == pytest.approx(0.35)
    assert (np.diff(approves[1:]) < 0).all()


def test_a_product_with_a_risk_limit_of_zero_has_the_lowest_prior():
    """No division by its limit of 0; an unknown limit or risk has no effect."""
    pairs = pa.table(
        {
            "segment": ["consumer"] * 4,
            "pd": [0.01, 0.2, 0.01, None],
            "pd_max": [0.0, 0.1, None, 0.0],
        }
    )
    with np.errstate(all="raise"):
        approves = Prior("approval", "").predict(pairs, threads=1)
    assert approves[0] == approves[1] < 0.35
    assert approves[2] == approves[3] == pytest.approx(0.35)


@pytest.fixture(scope="module")
def with_take_up(model_set, pairs) -> scoring.ModelSet:
    """A model set whose take-up falls with the rank of an offer."""
    likely = 0.9 - 0.2 * pairs["rank"].to_numpy()
    label = np.random.default_rng(4).uniform(size=pairs.num_rows) < likely
    labelled = pairs.append_column("label", pa.array(label.astype(float)))
    features = params().model_features("take_up")
    learned, _ = fit(labelled, features, splits.split_at_random(pairs.num_rows, 3))
    return replace(model_set, estimators=model_set.estimators | {"take_up": learned})


def test_take_up_never_rises_with_the_rank(with_take_up, pairs):
    by_rank = [with_take_up.take_up_at(pairs, rank * ones(pairs)) for rank in (1, 2, 3, 5)]
    assert all((later <= sooner).all() for sooner, later in pairwise(by_rank))
    assert by_rank[0].mean() - by_rank[2].mean() == pytest.approx(0.4, abs=0.1)


def test_take_up_at_the_own_rank_equals_the_score(with_take_up, pairs):
    at_own_rank = with_take_up.take_up_at(pairs, pairs["rank"].to_numpy())
    assert at_own_rank.tobytes() == with_take_up.score(pairs)["p_fund"].to_numpy().tobytes()


def test_no_pair_has_no_take_up(with_take_up, pairs):
    assert len(with_take_up.take_up_at(pairs.slice(0, 0), np.empty(0))) == 0


def ones(pairs: pa.Table) -> np.ndarray:
    return np.ones(pairs.num_rows)
