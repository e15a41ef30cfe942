"""The allocation benchmark reports every figure, and its peers solve the same instance."""

import pytest

from pipelines.bench.benchmarks.allocate import allocate_command, budgets_command
from pipelines.bench.shell import run_benchmark
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from tests.helpers.representatives import keep

SIZE = ["--leads", "300", "--products", "12", "--candidates", "6", "--seed", "1"]
FIGURES = {"value", "bound", "gap", "seconds", "peak_mb", "broken_constraints"}


@pytest.mark.parametrize(
    ("command", "peers"),
    keep((0,), [(allocate_command, {"ortools", "highs_ipm"}), (budgets_command, {"highs_ipm"})]),
)
def test_peers_solve_the_same_instance(command, peers):
    figures = run_benchmark(command, Settings(), [*SIZE, "--peers", "--warm"])
    assert set(figures) >= FIGURES | {"peers", "warm"}
    assert figures["broken_constraints"] == 0
    assert figures["warm"]["warm"]["broken_constraints"] == 0
    assert figures["peers"].keys() == peers
    for peer in figures["peers"].values():
        assert set(peer) >= FIGURES
        assert figures["value"] <= peer["value"] * 1.0001


def test_more_candidates_than_products_are_refused():
    with pytest.raises(UsageError, match="--candidates"):
        run_benchmark(allocate_command, Settings(), ["--products", "3", "--candidates", "4"])
