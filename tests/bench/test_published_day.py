"""Benchmarks of a published day, and the cost of a borrower, give every figure."""

from pathlib import Path

import pytest

from pipelines.bench.benchmarks import portions, prefilter, prices
from pipelines.bench.benchmarks.simulate import broadcast_cost_command
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from tests.helpers import matched_day, trained_market
from tests.helpers.crowded_market import crowded_day


def test_stated_prices_are_compared_with_solving_again(tmp_path: Path):
    crowded = crowded_day(tmp_path)
    match_day.match(crowded, matched_day.DAY)
    options = ["--date", f"{matched_day.DAY}", "--limits", "4"]
    figures = run_benchmark(prices.command, crowded, options)
    assert figures["quota"]["limits"] > 0
    assert 0 <= figures["quota"]["within"] <= 1


def test_a_prefilter_that_excludes_no_pair_loses_nothing(market: Settings):
    options = ["--date", f"{trained_market.DAY}", "--per-lead", "1,100", "--sample", "20"]
    figures = run_benchmark(prefilter.command, market, options)
    one, all_pairs = figures["per_lead"]["1"], figures["per_lead"]["100"]
    assert one["pairs"] < all_pairs["pairs"] == figures["pairs"]
    assert all_pairs["loss"] == 0 <= one["loss"] <= 1


def test_portions_are_measured_on_the_way_of_a_cluster(market: Settings):
    figures = run_benchmark(portions.command, market, ["--date", f"{trained_market.DAY}"])
    tasks = figures["tasks"]
    assert list(tasks) == ["PredictRisk", "ApplyRules", "ScorePairs"]
    assert tasks["ApplyRules"]["rows"] == figures["leads"]
    assert tasks["ScorePairs"]["rows"] == figures["scored_pairs"] == figures["eligible_pairs"] > 0
    for task in tasks.values():
        assert task["portions"] > 0
        assert min(task["worker_seconds"], task["mb_sent"], task["mb_returned"]) >= 0


@pytest.mark.prove
def test_the_cost_of_a_borrower_is_a_share_of_the_yield():
    options = ["--seeds", "1", "--days", "1", "--leads-per-day", "200", "--institutions", "5"]
    figures = run_benchmark(broadcast_cost_command, Settings(), options)
    assert figures
