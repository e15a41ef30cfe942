"""Figures equal what a hand or another library computes."""

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import brier_score_loss, roc_auc_score

from models.validation.metrics import auc, ece, evaluate, ks, movement, within_by_group


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


def of_lenders(variance: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what was predicted of 1,500 lenders' rows, what happened, and whose each row is.

    The log-odds of each lender have moved by a draw of that variance.
    """
    random = np.random.default_rng(seed)
    lenders = np.repeat(np.arange(1500), random.integers(20, 300, 1500))
    odds = random.normal(1.2, 1.0, len(lenders))
    moved = odds + random.normal(0, np.sqrt(variance), 1500)[lenders]
    happened = random.random(len(lenders)) < 1 / (1 + np.exp(-moved))
    return 1 / (1 + np.exp(-odds)), happened.astype(float), lenders


@pytest.mark.parametrize("variance", [0.0, 0.05, 0.3])
def test_how_far_lenders_moved_is_found_and_its_interval_holds_19_in_20(variance):
    found = movement(*of_lenders(variance, seed=3))
    assert found == pytest.approx(variance, rel=0.25, abs=0.003)
    later = of_lenders(variance, seed=4)
    within, checked = within_by_group(*later, least=100, moved=found)
    assert 0.92 < within / checked < 0.98
    still, _ = within_by_group(*later, least=100)
    assert still < within or variance == 0


def test_groups_of_few_rows_are_not_judged():
    predicted, happened, lenders = of_lenders(0.1, seed=5)
    of_some = lenders < 10
    rows = np.bincount(lenders[of_some])
    _, checked = within_by_group(
        predicted[of_some], happened[of_some], lenders[of_some], least=int(rows.max())
    )
    assert checked == 1


def test_a_row_that_counts_for_less_says_less_of_how_far_its_lender_moved():
    """Loans that still run have no default yet; of each only the part that was seen counts."""
    predicted, happened, lenders = of_lenders(0.0, seed=6)
    seen = np.random.default_rng(7).random(len(lenders)) < 0.5
    told = np.where(seen, happened, 0.0)
    assert movement(predicted, told, lenders) > 0.5
    assert movement(predicted, told, lenders, seen.astype(float)) < 0.01
