"""Lender drift is estimated and allowed for."""

import numpy as np
import pytest

from models.validation.metrics import count_groups_within_interval, estimate_lender_drift, evaluate
from pipelines.core.statistics import sigmoid


def test_one_class_is_an_error():
    with pytest.raises(ValueError, match="both classes"):
        evaluate(np.array([0.1, 0.2]), np.array([1.0, 1.0]))


def draw_lenders(variance: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions, outcomes and lender of rows of 1,500 lenders.

    The log-odds of each lender drift by a random effect of that variance.
    """
    random = np.random.default_rng(seed)
    lenders = np.repeat(np.arange(1500), random.integers(20, 300, 1500))
    odds = random.normal(1.2, 1.0, len(lenders))
    moved = odds + random.normal(0, np.sqrt(variance), 1500)[lenders]
    outcomes = random.random(len(lenders)) < sigmoid(moved)
    return sigmoid(odds), outcomes.astype(float), lenders


@pytest.mark.parametrize("variance", [0.0, 0.05, 0.3])
def test_lender_drift_is_estimated_and_its_interval_covers_19_in_20(variance):
    drift = estimate_lender_drift(*draw_lenders(variance, seed=3))
    assert drift == pytest.approx(variance, rel=0.25, abs=0.003)
    later = draw_lenders(variance, seed=4)
    within, counted = count_groups_within_interval(*later, min_rows=100, drift_variance=drift)
    assert 0.92 < within / counted < 0.98
    without_drift, _ = count_groups_within_interval(*later, min_rows=100)
    assert without_drift < within or variance == 0


def test_groups_with_few_rows_are_not_counted():
    predicted, outcomes, lenders = draw_lenders(0.1, seed=5)
    some = lenders < 10
    rows = np.bincount(lenders[some])
    _, counted = count_groups_within_interval(
        predicted[some], outcomes[some], lenders[some], min_rows=int(rows.max())
    )
    assert counted == 1


def test_unobserved_rows_do_not_count_as_lender_drift():
    """A right-censored loan has no default yet; only its observed part counts."""
    predicted, outcomes, lenders = draw_lenders(0.0, seed=6)
    seen = np.random.default_rng(7).random(len(lenders)) < 0.5
    observed = np.where(seen, outcomes, 0.0)
    assert estimate_lender_drift(predicted, observed, lenders) > 0.5
    assert estimate_lender_drift(predicted, observed, lenders, seen.astype(float)) < 0.01
