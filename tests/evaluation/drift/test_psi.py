"""PSI and its distribution under no change, where the answer is known."""

import numpy as np
import pytest

from pipelines.evaluation.drift.psi import compute_psi, design_effect


def days_of(random: np.random.Generator, shares: np.ndarray, days: int, rows: int) -> np.ndarray:
    return random.multinomial(rows, shares, days)


def test_psi_equals_the_textbook_formula():
    reference, now = np.array([[100_000, 100_000]] * 2), np.array([150_000, 50_000])
    psi = compute_psi(reference, now)
    assert psi is not None
    assert psi.value == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5), rel=1e-4)


def test_one_bin_has_no_psi():
    assert compute_psi(np.array([[9], [9]]), np.array([9])) is None


@pytest.mark.parametrize("rows", [30, 300])
@pytest.mark.parametrize("days", [3, 28])
def test_p_values_under_no_change_are_calibrated(rows: int, days: int):
    random = np.random.default_rng(20261123)
    shares = np.full(5, 0.2)
    psis = [
        compute_psi(days_of(random, shares, days, rows), random.multinomial(rows, shares))
        for _ in range(2000)
    ]
    p_values = np.array([each.p_value for each in psis if each])
    assert np.mean(p_values < 0.01) <= 0.015
    assert np.mean([each.value / each.expected for each in psis if each]) < 1.1


def test_variance_between_days_raises_the_p_value():
    random = np.random.default_rng(1)
    alike = np.array([random.multinomial(500, [0.2] * 5) for _ in range(20)])
    varying = np.array([random.multinomial(500, random.dirichlet([20] * 5)) for _ in range(20)])
    now = np.array([150, 130, 80, 70, 70])
    stable, uncertain = compute_psi(alike, now), compute_psi(varying, now)
    assert stable is not None
    assert uncertain is not None
    assert stable.p_value < 0.001
    assert uncertain.p_value > 0.05


def test_a_few_unusual_days_do_not_raise_the_design_effect():
    random = np.random.default_rng(2)
    chi_squares = random.chisquare(4, 28)
    with_unusual = np.concatenate([chi_squares, [500.0] * 3])
    assert design_effect(with_unusual, 4) < 1.3 * max(design_effect(chi_squares, 4), 1.0)
