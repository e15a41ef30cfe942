"""Calibration undoes a known distortion, and never turns the order of rows around."""

import numpy as np
import pytest

from models.scoring.calibration import Calibration, fit

RANDOM_ROWS = 40_000


def drawn(distort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distorted probabilities, what happened, and the true probabilities."""
    random = np.random.default_rng(3)
    true = random.beta(2, 3, RANDOM_ROWS)
    return distort(true), (random.random(RANDOM_ROWS) < true).astype(float), true


@pytest.mark.parametrize(
    "distort",
    [lambda p: p, lambda p: p**2, np.sqrt, lambda p: p**3 / (p**3 + (1 - p) ** 3)],
    ids=["honest", "too low", "too high", "too sure"],
)
def test_a_known_distortion_is_undone(distort):
    raw, happened, true = drawn(distort)
    assert np.mean(np.abs(fit(raw, happened)(raw) - true)) < 0.01


def test_the_order_of_rows_stays_even_where_the_outcome_says_the_contrary():
    raw, happened, _ = drawn(lambda p: 1 - p)
    curve = fit(raw, happened)
    assert (np.diff(curve(np.linspace(0, 1, 101))) >= 0).all()


def test_certainty_stays_a_probability():
    ends = Calibration(a=2, b=2, c=0.5)(np.array([0.0, 1.0]))
    assert ((ends > 0) & (ends < 1)).all()


def test_the_default_changes_nothing():
    raw = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(Calibration()(raw), raw, rtol=1e-12)
