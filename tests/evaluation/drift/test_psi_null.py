"""What is told of two samples is right where the answer is known."""

import numpy as np
import pytest

from pipelines.evaluation.drift.psi_null import design_effect, stability


def days_of(random: np.random.Generator, shares: np.ndarray, days: int, rows: int) -> np.ndarray:
    return random.multinomial(rows, shares, days)


def test_the_index_is_that_of_the_textbook():
    then, now = np.array([[100_000, 100_000]] * 2), np.array([150_000, 50_000])
    found = stability(then, now)
    assert found is not None
    assert found.psi == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5), rel=1e-4)


def test_one_bin_says_nothing():
    assert stability(np.array([[9], [9]]), np.array([9])) is None


@pytest.mark.parametrize("rows", [30, 300])
@pytest.mark.parametrize("days", [3, 28])
def test_chance_alone_is_told_as_often_as_it_should_be(rows: int, days: int):
    random = np.random.default_rng(20261123)
    shares = np.full(5, 0.2)
    found = [
        stability(days_of(random, shares, days, rows), random.multinomial(rows, shares))
        for _ in range(2000)
    ]
    p_values = np.array([each.p_value for each in found if each])
    assert np.mean(p_values < 0.01) <= 0.015
    assert np.mean([each.psi / each.by_chance for each in found if each]) < 1.1


def test_days_that_differ_by_themselves_hide_what_chance_could_be():
    random = np.random.default_rng(1)
    alike = np.array([random.multinomial(500, [0.2] * 5) for _ in range(20)])
    restless = np.array([random.multinomial(500, random.dirichlet([20] * 5)) for _ in range(20)])
    now = np.array([150, 130, 80, 70, 70])
    quiet, unsure = stability(alike, now), stability(restless, now)
    assert quiet is not None
    assert unsure is not None
    assert quiet.p_value < 0.001
    assert unsure.p_value > 0.05


def test_a_few_days_on_which_something_happened_do_not_hide_it():
    random = np.random.default_rng(2)
    chi_squares = random.chisquare(4, 28)
    struck = np.concatenate([chi_squares, [500.0] * 3])
    assert design_effect(struck, 4) < 1.3 * max(design_effect(chi_squares, 4), 1.0)
