"""The simulator benchmark measures a day with every feed."""

import click
import pytest

from pipelines.bench.benchmarks.simulate import simulate_command
from pipelines.bench.shell import run_benchmark
from pipelines.core.settings import Settings
from tests.helpers.feeds import SIMULATED


def test_the_figures_of_a_day_with_every_feed():
    options = ["--leads", "300", "--institutions", "5", "--seed", "2"]
    figures = run_benchmark(simulate_command, Settings(), options)
    assert [figures[name] for name in ("leads", "institutions", "seed")] == [300, 5, 2]
    assert figures["feeds"].keys() == set(SIMULATED)
    assert figures["seconds"] > 0
    assert figures["processor_seconds"] > 0
    assert figures["peak_mb"] > 10


def test_an_empty_market_is_refused():
    with pytest.raises(click.UsageError):
        run_benchmark(simulate_command, Settings(), ["--leads", "0"])
