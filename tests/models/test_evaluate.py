"""Figures equal what a hand or another library computes."""

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import brier_score_loss, roc_auc_score

from models.evaluate import auc, ece, evaluate, ks


def drawn(rows: int, seed: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    predicted = np.round(random.random(rows), digits)
    return predicted, (random.random(rows) < predicted).astype(float)


@pytest.mark.parametrize("digits", [1, 2, 15], ids=["many ties", "ties", "no ties"])
def test_figures_equal_those_of_other_libraries(digits):
    predicted, happened = drawn(2000, 5, digits)
    figures = evaluate(predicted, happened)
    assert figures.auc == pytest.approx(roc_auc_score(happened, predicted), abs=1e-6)
    assert figures.brier == pytest.approx(brier_score_loss(happened, predicted), abs=1e-6)
    apart = ks_2samp(predicted[happened == 1], predicted[happened == 0]).statistic
    assert figures.ks == pytest.approx(apart, abs=1e-6)
    assert figures.base_rate == pytest.approx(happened.mean(), abs=1e-6)


def test_the_interval_of_the_auc_covers_the_truth_19_times_in_20():
    truth = auc(*drawn(400_000, 1, 15))[0]
    covered = []
    for seed in range(200):
        figures = evaluate(*drawn(400, 100 + seed, 15))
        covered.append(figures.auc_low <= truth <= figures.auc_high)
    assert 0.90 <= np.mean(covered) <= 0.99


def test_a_rate_stated_as_it_happens_is_calibrated_whatever_the_order_of_rows():
    happened = np.tile([1.0, 0.0, 0.0, 0.0], 100)
    assert ece(np.full(400, 0.25), happened) == pytest.approx(0)
    assert ece(np.full(400, 0.25), np.sort(happened)) == pytest.approx(0)


def test_a_rate_stated_too_high_is_off_by_the_difference():
    assert ece(np.full(400, 0.40), np.tile([1.0, 0.0, 0.0, 0.0], 100)) == pytest.approx(0.15)


def test_perfect_order_leaves_the_classes_wholly_apart():
    predicted, happened = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 0, 1, 1])
    assert auc(predicted, happened) == (1.0, 0.0)
    assert ks(predicted, happened) == 1.0


def test_one_class_alone_has_no_figures():
    with pytest.raises(ValueError, match="both classes"):
        evaluate(np.array([0.1, 0.2]), np.array([1.0, 1.0]))
