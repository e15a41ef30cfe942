"""In a simulated market the leak check finds the synthetic leaks and no valid column."""

import pytest

from models.leakage.synthetic_leaks import SYNTHETIC_LEAKS
from pipelines.bench.benchmarks.leaks import command
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import Settings


@pytest.mark.prove
def test_only_the_synthetic_leaks_are_flagged(tmp_path):
    figures = run_benchmark(command, Settings(home=tmp_path / "untouched"), [])
    assert figures["rows"]["approval"] > 20_000
    assert figures["valid_flagged"] == {"approval": [], "take_up": []}
    assert figures["missed"] == []
    assert set(figures["synthetic"]) == set(SYNTHETIC_LEAKS)
    assert not (tmp_path / "untouched").exists()
