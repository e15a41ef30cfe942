"""Intervals of off-policy estimates cover the truth, and the harmful policy is never promoted."""

from pathlib import Path

import pytest

from pipelines.bench.benchmarks.logged_days import simulate_days
from pipelines.bench.benchmarks.off_policy import HARMFUL, measure_coverage
from pipelines.core.settings import Settings
from tests.helpers.crowded_market import set_exploration_share


@pytest.mark.prove
def test_intervals_cover_the_truth_of_a_simulated_day_and_harm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    set_exploration_share(0.1, monkeypatch)
    days = simulate_days(Settings(home=tmp_path), history=1, matched=1, size=(150, 8), seed=7)
    figures = measure_coverage(days, runs=20, seed=3)
    harmful = figures["policies"].pop(HARMFUL)
    assert harmful["promoted"] == 0  # rejected, or too little of it was explored to decide
    assert harmful["true_gain"] < 0
    # So small a day has few loans, which the surplus comes from: bias and width are the bench's.
    for name, policy in figures["policies"].items():
        assert policy["doubly_robust"]["coverage"] >= 0.85, name
