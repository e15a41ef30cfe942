"""The scoring benchmark compares both scorers on the same pairs, with equal probabilities."""

from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.bench.benchmarks.score import command, score_in_new_process
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import Settings
from tests.helpers.trained_market import DAY

PAIRS = 9000
"""More than twice the distinct pairs."""


@pytest.mark.prove  # tests/models/scoring compares the scorers in one process
def test_both_scorers_give_the_same_probabilities(market, pairs, tmp_path):
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    (ours, predicted), (peer, expected) = (
        score_in_new_process(market, DAY, tmp_path / "pairs.parquet", PAIRS, scorer)
        for scorer in ("banyan", "lightgbm")
    )
    rows = pairs.num_rows
    assert predicted.shape == (3, PAIRS)
    assert np.array_equal(predicted[:, :rows], predicted[:, rows : 2 * rows])
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-9)
    assert ours["trees"] == peer["trees"]
    assert ours["trees"]["approval"] > 5
    assert 0 < peer["predict_seconds"] <= peer["seconds"]
    assert min(ours["seconds"], ours["peak_mb"], peer["peak_mb"]) > 0


@pytest.mark.parametrize("options", ["--pairs 0", "--days 0", "--leads-per-day 0"])
def test_a_count_of_zero_is_refused(tmp_path: Path, options):
    with pytest.raises(click.UsageError):
        run_benchmark(command, Settings(home=tmp_path / "untouched"), options.split())
    assert not (tmp_path / "untouched").exists()


@pytest.mark.prove
def test_a_market_is_trained_and_measured_with_every_figure(tmp_path: Path):
    options = "--pairs 20000 --days 8 --leads-per-day 500"
    figures = run_benchmark(command, Settings(home=tmp_path / "untouched"), options.split())
    assert {"seconds", "peak_mb", "peers", "max_difference", "ratio"} <= set(figures)
    assert {"seconds", "peak_mb", "predict_seconds"} <= set(figures["peers"]["lightgbm"])
    assert figures["trees"]
    assert figures["max_difference"] < 1e-9
    assert not (tmp_path / "untouched").exists()
