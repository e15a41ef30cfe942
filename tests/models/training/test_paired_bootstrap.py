"""Two models on the same outcomes, also where those are likely, or could show, in part."""

from dataclasses import replace

import numpy as np
import pytest

from models.training.loan_maturity import Exposure
from models.training.paired_bootstrap import FIGURES, Outcomes, compare
from pipelines.core.statistics import auc

ROWS = 3_000


@pytest.fixture(scope="module")
def probability() -> np.ndarray:
    return np.random.default_rng(2).uniform(0.01, 0.5, ROWS)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return np.random.default_rng(3).uniform(0.01, 0.5, ROWS)


def outcomes(happened: np.ndarray) -> Outcomes:
    return Outcomes(happened, np.arange(len(happened)), np.ones(len(happened)), shows_likely=False)


@pytest.fixture(scope="module")
def happened(probability: np.ndarray) -> Outcomes:
    drawn = np.random.default_rng(4).uniform(size=ROWS) < probability
    return outcomes(drawn.astype(float))


def test_what_is_likely_in_part_counts_as_so_many_rows_of_either_kind(probability, other):
    likely = np.random.default_rng(5).choice([0.0, 0.25, 1.0], ROWS)
    four_times = np.repeat(np.arange(ROWS), 4)
    each = (np.tile([0.0, 1.0, 2.0, 3.0], ROWS) < 4 * likely[four_times]).astype(float)
    once = compare(outcomes(likely), probability, other)
    several = compare(outcomes(each), probability[four_times], other[four_times])
    for name in FIGURES:
        assert once[name].champion == pytest.approx(several[name].champion, abs=1e-6), name


def test_a_row_counts_as_often_as_is_said(happened, probability, other):
    whole = np.arange(ROWS) % 3
    rows = np.repeat(np.arange(ROWS), whole)
    counted = compare(replace(happened, counts=whole.astype(float)), probability, other)
    repeated = compare(outcomes(happened.happened[rows]), probability[rows], other[rows])
    for name in ("auc", "log_loss", "bias"):
        assert counted[name].champion == pytest.approx(repeated[name].champion, abs=1e-6), name


def test_what_could_show_counts_for_sizes_and_not_for_order(probability, other):
    """A model that is right stays so for the part that could show; young rows do not rank it."""
    begin, end = np.zeros(ROWS), np.random.default_rng(6).uniform(0.2, 0.6, ROWS)
    exposure = Exposure(begin, end)
    drawn = np.random.default_rng(7).uniform(size=ROWS) < exposure.chance(probability)
    shown = replace(outcomes(drawn.astype(float)), exposure=exposure)
    found = compare(shown, probability, other)
    assert found["bias"].champion == pytest.approx(0, abs=3 * np.sqrt(0.1 / ROWS))
    assert found["auc"].champion == pytest.approx(auc(probability, shown.happened)[0], abs=1e-6)
    taken_whole = compare(outcomes(shown.happened), probability, other)
    assert taken_whole["bias"].champion > 0.1
    assert taken_whole["log_loss"].champion > found["log_loss"].champion + 0.05


def test_outcomes_of_one_kind_alone_tell_nothing(probability):
    with pytest.raises(ValueError, match="both classes"):
        compare(outcomes(np.zeros(ROWS)), probability, probability)
