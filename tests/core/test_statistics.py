"""Statistics equal what a hand or another library computes."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, rankdata
from sklearn.metrics import brier_score_loss, roc_auc_score

from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import (
    adjust_p_values,
    auc,
    auc_of_counts,
    auc_with_interval,
    brier_score,
    equal_count_bins,
    expected_calibration_error,
    ks_distance,
    logit,
    placement_values,
    quantile_edges,
    reject_by_holm,
    round_significant,
    sigmoid,
    wilson_interval,
)

TIES = pytest.mark.parametrize("digits", [1, 2, 15], ids=["many ties", "ties", "no ties"])


def draw_outcomes(rows: int, seed: int, digits: int) -> tuple[FloatArray, FloatArray]:
    random = np.random.default_rng(seed)
    predicted = np.round(random.random(rows), digits)
    return predicted, (random.random(rows) < predicted).astype(float)


@TIES
def test_discrimination_and_squared_error_equal_other_libraries(digits: int):
    predicted, outcomes = draw_outcomes(2000, 5, digits)
    assert auc(predicted, outcomes)[0] == pytest.approx(roc_auc_score(outcomes, predicted))
    assert brier_score(predicted, outcomes) == pytest.approx(brier_score_loss(outcomes, predicted))
    distance = ks_2samp(predicted[outcomes == 1], predicted[outcomes == 0]).statistic
    assert ks_distance(predicted, outcomes) == pytest.approx(distance)


@TIES
def test_placement_values_are_differences_of_midranks(digits: int):
    predicted, outcomes = draw_outcomes(500, 6, digits)
    yes = outcomes == 1
    by_rank = (rankdata(predicted)[yes] - rankdata(predicted[yes])) / (~yes).sum()
    np.testing.assert_allclose(placement_values(predicted, outcomes)[0], by_rank, atol=1e-12)


@TIES
def test_auc_of_weighted_rows_equals_that_of_repeated_rows(digits: int):
    predicted, outcomes = draw_outcomes(500, 7, digits)
    _, position = np.unique(predicted, return_inverse=True)
    positives = np.bincount(position, weights=outcomes)
    negatives = np.bincount(position, weights=1 - outcomes)
    areas = auc_of_counts(np.stack([positives, 3 * positives]), np.stack([negatives] * 2))
    np.testing.assert_allclose(areas, auc(predicted, outcomes)[0])


def test_interval_of_the_auc_covers_the_truth_19_times_in_20():
    truth = auc(*draw_outcomes(400_000, 1, 15))[0]
    intervals = [auc_with_interval(*draw_outcomes(400, 100 + seed, 15)) for seed in range(200)]
    assert 0.90 <= np.mean([low <= truth <= high for _, low, high in intervals]) <= 0.99


def test_perfect_order_separates_the_classes_completely():
    predicted, outcomes = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 0, 1, 1])
    assert auc(predicted, outcomes) == (1.0, 0.0)
    assert ks_distance(predicted, outcomes) == 1.0


def test_calibration_error_does_not_depend_on_the_order_of_rows():
    outcomes = np.tile([1.0, 0.0, 0.0, 0.0], 100)
    predicted = np.full(400, 0.25)
    assert expected_calibration_error(predicted, outcomes) == pytest.approx(0)
    assert expected_calibration_error(predicted, np.sort(outcomes)) == pytest.approx(0)


def test_calibration_error_of_a_constant_bias_is_the_bias():
    outcomes = np.tile([1.0, 0.0, 0.0, 0.0], 100)
    assert expected_calibration_error(np.full(400, 0.40), outcomes) == pytest.approx(0.15)


def test_wilson_interval_covers_the_rate_19_times_in_20():
    random = np.random.default_rng(3)
    rates = random.uniform(0.02, 0.9, 4000)
    low, high = wilson_interval(random.binomial(200, rates), np.full(4000, 200))
    assert ((low <= rates) & (rates <= high)).mean() == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("positives", "rows"), [(0, 10), (10, 10), (3, 10), (500, 1000)])
def test_wilson_interval_holds_the_observed_rate_within_0_and_1(positives: int, rows: int):
    low, high = wilson_interval(positives, rows)
    assert 0 <= low <= positives / rows <= high <= 1
    assert (low, high) != (0, 1)


def test_p_values_are_adjusted_by_benjamini_and_hochberg():
    p_values = np.array([0.04, 0.005, 0.5, 0.011])
    assert adjust_p_values(p_values) == pytest.approx([0.04 * 4 / 3, 0.02, 0.5, 0.022])
    assert adjust_p_values(np.array([])).size == 0


def test_sigmoid_inverts_logit_and_does_not_overflow():
    probabilities = np.array([1e-6, 0.2, 0.5, 0.999])
    np.testing.assert_allclose(sigmoid(logit(probabilities)), probabilities, rtol=1e-9)
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_bins_have_equal_counts_and_edges_are_distinct():
    values = np.random.default_rng(4).permutation(100).astype(float)
    bins = equal_count_bins(values, 4)
    assert [len(rows) for rows in bins] == [25] * 4
    assert values[bins[0]].max() < values[bins[1]].min()
    assert quantile_edges(values, 4, "lower").tolist() == [24, 49, 74]
    assert quantile_edges(np.zeros(9), 4).tolist() == [0]


def test_significant_digits_are_counted_from_the_first_one_that_is_not_zero():
    assert round_significant(0.00012345678) == 0.000123457
    assert round_significant(123456.789, 2) == 120000.0


def test_holm_rejects_as_its_step_down_procedure():
    p_value = np.array([0.03, 0.001, 0.04, 0.02])
    assert reject_by_holm(p_value, 0.05).tolist() == [False, True, False, False]
    assert reject_by_holm(p_value, 0.1).tolist() == [True, True, True, True]
    assert reject_by_holm(np.zeros(0), 0.05).tolist() == []
