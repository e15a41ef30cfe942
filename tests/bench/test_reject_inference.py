"""Against the truth: expected figures, and never a better one than the truth's own."""

import numpy as np
import pytest

from pipelines.bench.studies import reject_inference
from pipelines.bench.studies.oracle_metrics import Judged, figures, gain
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.core.statistics import auc, expected_calibration_error

PEOPLE = 3_000


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(5).beta(1, 9, PEOPLE)


@pytest.fixture(scope="module")
def guess(truth) -> np.ndarray:
    noise = np.random.default_rng(6).normal(size=PEOPLE)
    return np.round(truth * np.exp(0.8 * noise), 2).clip(0.001, 0.999)


def test_the_expected_figures_are_those_of_many_draws(truth, guess):
    random = np.random.default_rng(7)
    draws = [(random.uniform(size=PEOPLE) < truth).astype(float) for _ in range(60)]
    found = figures(Judged(guess, truth))
    assert found["auc"] == pytest.approx(
        np.mean([auc(guess, drawn)[0] for drawn in draws]), abs=0.005
    )
    assert found["in_the_large"] == pytest.approx(guess.mean() / np.mean(draws), rel=0.02)
    assert found["ece"] <= np.mean([expected_calibration_error(guess, drawn) for drawn in draws])


def test_nobody_knows_better_than_the_truth(truth, guess):
    known, guessed = figures(Judged(truth, truth)), figures(Judged(guess, truth))
    assert (known["ece"], known["in_the_large"]) == (0.0, 1.0)
    assert known["auc_low"] > guessed["auc_high"]


def test_a_gain_is_told_on_the_same_people(truth, guess):
    known, guessed = Judged(truth, truth), Judged(guess, truth)
    found = gain(known, guessed)
    assert found["auc_low"] < found["auc"] < found["auc_high"]
    apart = figures(known)["auc_high"] - figures(guessed)["auc_low"]
    assert found["auc_high"] - found["auc_low"] < apart
    assert set(gain(known, known).values()) == {0.0}


def test_a_market_too_short_for_a_loan_to_end_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Nothing was measured"):
        reject_inference.main(Settings(home=tmp_path), ["--days", "20"])
