"""The benchmark of scoring compares like with like, and shows that both say the same."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.bench.benchmarks.score import main
from pipelines.bench.benchmarks.score_peers import in_own_process
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from tests.helpers.trained_market import DAY

PAIRS = 9000  # more than twice as many as there are


def test_both_scorers_give_the_same_probabilities_of_the_same_pairs(market, pairs, tmp_path):
    pq.write_table(pairs, tmp_path / "pairs.parquet")
    (ours, said), (peer, expected) = (
        in_own_process(market, DAY, tmp_path / "pairs.parquet", PAIRS, scorer)
        for scorer in ("banyan", "lightgbm")
    )
    assert said.shape == (3, PAIRS)
    assert np.array_equal(said[:, : pairs.num_rows], said[:, pairs.num_rows : 2 * pairs.num_rows])
    np.testing.assert_allclose(said, expected, rtol=0, atol=1e-9)
    assert ours["trees"] == peer["trees"]
    assert ours["trees"]["approval"] > 5
    assert 0 < peer["predict_seconds"] <= peer["seconds"]
    assert min(ours["seconds"], ours["peak_mb"], peer["peak_mb"]) > 0


@pytest.mark.parametrize("options", ["--pairs 0", "--days 0", "--leads-per-day 0"])
def test_nothing_to_measure_is_refused(tmp_path: Path, options):
    with pytest.raises(UsageError, match="Nothing was measured"):
        main(Settings(home=tmp_path / "untouched"), options.split())
    assert not (tmp_path / "untouched").exists()


@pytest.mark.prove
def test_a_market_is_built_and_measured_with_every_figure(tmp_path: Path):
    options = "--pairs 20000 --days 8 --leads-per-day 500"
    figures = main(Settings(home=tmp_path / "untouched"), options.split())
    assert {"seconds", "peak_mb", "peers", "max_difference", "ratio"} <= set(figures)
    assert {"seconds", "peak_mb", "predict_seconds"} <= set(figures["peers"]["lightgbm"])
    assert figures["trees"]
    assert figures["max_difference"] < 1e-9
    assert not (tmp_path / "untouched").exists()
