"""Metrics of two models on the same outcomes, also with fractional labels and partial exposure."""

from dataclasses import replace

import numpy as np
import pytest

from models.training.loan_maturity import Exposure
from models.training.paired_bootstrap import METRICS, ModelOutcomes, compare
from pipelines.core.statistics import auc

ROWS = 3_000


@pytest.fixture(scope="module")
def probability() -> np.ndarray:
    return np.random.default_rng(2).uniform(0.01, 0.5, ROWS)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return np.random.default_rng(3).uniform(0.01, 0.5, ROWS)


def make_outcomes(labels: np.ndarray) -> ModelOutcomes:
    return ModelOutcomes(labels, np.arange(len(labels)), np.ones(len(labels)), ranks_by_value=False)


@pytest.fixture(scope="module")
def happened(probability: np.ndarray) -> ModelOutcomes:
    drawn = np.random.default_rng(4).uniform(size=ROWS) < probability
    return make_outcomes(drawn.astype(float))


def test_fractional_label_counts_as_rows_of_either_class(probability, other):
    probable = np.random.default_rng(5).choice([0.0, 0.25, 1.0], ROWS)
    four_times = np.repeat(np.arange(ROWS), 4)
    each = (np.tile([0.0, 1.0, 2.0, 3.0], ROWS) < 4 * probable[four_times]).astype(float)
    once = compare(make_outcomes(probable), probability, other)
    several = compare(make_outcomes(each), probability[four_times], other[four_times])
    for name in METRICS:
        assert once[name].champion == pytest.approx(several[name].champion, abs=1e-6), name


def test_weight_counts_as_repeated_rows(happened, probability, other):
    whole = np.arange(ROWS) % 3
    rows = np.repeat(np.arange(ROWS), whole)
    counted = compare(replace(happened, weights=whole.astype(float)), probability, other)
    repeated = compare(make_outcomes(happened.labels[rows]), probability[rows], other[rows])
    for name in ("auc", "log_loss", "bias"):
        assert counted[name].champion == pytest.approx(repeated[name].champion, abs=1e-6), name


def test_exposure_affects_calibration_and_not_ranking(probability, other):
    """A calibrated model stays calibrated for the observed part; exposure does not rank rows."""
    begin, end = np.zeros(ROWS), np.random.default_rng(6).uniform(0.2, 0.6, ROWS)
    exposure = Exposure(begin, end)
    drawn = np.random.default_rng(7).uniform(size=ROWS) < exposure.window_probability(probability)
    shown = replace(make_outcomes(drawn.astype(float)), exposure=exposure)
    partial = compare(shown, probability, other)
    assert partial["bias"].champion == pytest.approx(0, abs=3 * np.sqrt(0.1 / ROWS))
    assert partial["auc"].champion == pytest.approx(auc(probability, shown.labels)[0], abs=1e-6)
    full_exposure = compare(make_outcomes(shown.labels), probability, other)
    assert full_exposure["bias"].champion > 0.1
    assert full_exposure["log_loss"].champion > partial["log_loss"].champion + 0.05


def test_one_class_is_an_error(probability):
    with pytest.raises(ValueError, match="both classes"):
        compare(make_outcomes(np.zeros(ROWS)), probability, probability)
