"""Calibration corrects a known distortion and never reverses the order of rows."""

import numpy as np
import pytest

from models.scoring.calibration import Calibration, fit_calibration

RANDOM_ROWS = 40_000


def draw_outcomes(distort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distorted probabilities, outcomes, and the true probabilities."""
    random = np.random.default_rng(3)
    true = random.beta(2, 3, RANDOM_ROWS)
    return distort(true), (random.random(RANDOM_ROWS) < true).astype(float), true


@pytest.mark.parametrize(
    "distort",
    [lambda p: p, lambda p: p**2, np.sqrt, lambda p: p**3 / (p**3 + (1 - p) ** 3)],
    ids=["calibrated", "too low", "too high", "too extreme"],
)
def test_known_distortion_is_corrected(distort):
    raw, outcomes, true = draw_outcomes(distort)
    assert np.mean(np.abs(fit_calibration(raw, outcomes)(raw) - true)) < 0.01


def test_order_of_rows_is_kept_even_if_outcomes_contradict_it():
    raw, outcomes, _ = draw_outcomes(lambda p: 1 - p)
    curve = fit_calibration(raw, outcomes)
    assert (np.diff(curve(np.linspace(0, 1, 101))) >= 0).all()


def test_zero_and_one_stay_probabilities():
    ends = Calibration(a=2, b=2, c=0.5)(np.array([0.0, 1.0]))
    assert ((ends > 0) & (ends < 1)).all()


def test_default_is_the_identity():
    raw = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(Calibration()(raw), raw, rtol=1e-12)
