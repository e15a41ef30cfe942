"""Metrics against the truth are expected ones, and no prediction is better than the truth."""

import click
import numpy as np
import pytest

from pipelines.bench.shell import run_benchmark
from pipelines.bench.studies.reject_inference import (
    Predictions,
    command,
    compare_metrics,
    compute_metrics,
)
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


def test_expected_metrics_are_the_mean_of_many_draws(truth, guess):
    random = np.random.default_rng(7)
    draws = [(random.uniform(size=PEOPLE) < truth).astype(float) for _ in range(60)]
    metrics = compute_metrics(Predictions(guess, truth))
    mean_auc = np.mean([auc(guess, drawn)[0] for drawn in draws])
    mean_ece = np.mean([expected_calibration_error(guess, drawn) for drawn in draws])
    assert metrics["auc"] == pytest.approx(mean_auc, abs=0.005)
    assert metrics["mean_ratio"] == pytest.approx(guess.mean() / np.mean(draws), rel=0.02)
    assert metrics["ece"] <= mean_ece


def test_no_prediction_is_better_than_the_truth(truth, guess):
    of_truth = compute_metrics(Predictions(truth, truth))
    of_guess = compute_metrics(Predictions(guess, truth))
    assert (of_truth["ece"], of_truth["mean_ratio"]) == (0.0, 1.0)
    assert of_truth["auc_low"] > of_guess["auc_high"]


def test_a_comparison_resamples_the_same_people(truth, guess):
    of_truth, of_guess = Predictions(truth, truth), Predictions(guess, truth)
    difference = compare_metrics(of_truth, of_guess)
    assert difference["auc_low"] < difference["auc"] < difference["auc_high"]
    unpaired = compute_metrics(of_truth)["auc_high"] - compute_metrics(of_guess)["auc_low"]
    assert difference["auc_high"] - difference["auc_low"] < unpaired
    assert set(compare_metrics(of_truth, of_truth).values()) == {0.0}


def test_a_market_too_short_for_a_loan_to_end_is_refused(tmp_path):
    with pytest.raises(click.UsageError):
        run_benchmark(command, Settings(home=tmp_path), ["--days", "20"])
