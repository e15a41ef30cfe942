"""Lender drift is estimated and allowed for."""

import numpy as np
import pytest

from models.validation.metrics import evaluate, movement, within_by_group
from pipelines.core.statistics import sigmoid


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
    happened = random.random(len(lenders)) < sigmoid(moved)
    return sigmoid(odds), happened.astype(float), lenders


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
