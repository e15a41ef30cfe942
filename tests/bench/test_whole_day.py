"""A whole day of a market with a history is measured with every figure."""

from pathlib import Path

import pytest

from pipelines.bench.benchmarks.whole_day.day import command
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import Settings

KERNELS = (
    *("ingest", "collect", "staging", "intermediate", "features", "marts"),
    *("score", "match", "deliver", "total"),
)


@pytest.mark.prove
def test_a_day_after_a_history_is_measured_with_its_kernels(tmp_path: Path):
    options = ["--leads", "400", "--institutions", "8", "--history", "2"]
    figures = run_benchmark(command, Settings(home=tmp_path / "untouched"), options)
    assert 0 < figures["matched"] <= figures["received"]
    assert figures["matches"] > 0
    assert tuple(figures["kernels"]) == KERNELS
    for name in ("seconds", "cpu_seconds"):
        steps = figures[name]
        assert {"ingest", "marts", "score", "match", "deliver", "report", "close"} <= steps.keys()
        assert sum(steps.values()) == pytest.approx(2 * steps["total"], abs=0.5)
        assert all(figures["kernels"][kernel][name] > 0 for kernel in ("marts", "match", "total"))
    assert figures["peak_mb"] == max(figures["peak_mb_by_step"].values()) > 0
    assert figures["ratio"] > 1
    assert not (tmp_path / "untouched").exists()
