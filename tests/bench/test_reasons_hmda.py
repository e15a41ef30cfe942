"""Reasons hold on real decisions, not only in a simulated market."""

import pytest

from pipelines.bench.benchmarks.reasons import command
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import PROJECT, Settings

pytestmark = pytest.mark.prove

SAMPLE = PROJECT / "expectations" / "mappings" / "samples" / "hmda_sample.parquet"


def test_reasons_of_real_home_loan_decisions_hold(tmp_path):
    options = ["--mapping", "hmda", "--file", str(SAMPLE), "--rows", "1000"]
    figures = run_benchmark(command, Settings(home=tmp_path), options)
    assert figures["reasons"] > 3000
    assert figures["peer_values"] >= 0.95
    assert figures["reference"] >= 0.98
    assert figures["by_contributions_only"]["reference"] < figures["reference"]
    assert figures["max_difference"] < 1e-9
