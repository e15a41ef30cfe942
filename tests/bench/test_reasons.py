"""`bench reasons` measures the fidelity of reasons and the speed of their computation."""

import pytest

from pipelines.bench.benchmarks.reasons import command
from pipelines.bench.shell import run_benchmark
from pipelines.core.errors import InputMissing, UsageError
from tests.helpers.trained_market import DAY


def test_the_models_of_a_home_are_measured(market):
    figures = run_benchmark(command, market, ["--date", f"{DAY}", "--rows", "200"])
    assert figures["rows"] == 200
    assert figures["reasons"] > 500
    assert 0.95 <= figures["peer_values"] <= 1
    assert figures["max_difference"] < 1e-9
    assert figures["contributions_per_second"] > 0
    assert figures["peers"]["lightgbm"]["contributions_per_second"] > 0
    assert figures["by_contributions_only"]["reference"] < figures["reference"]


def test_a_stated_prior_has_no_reasons_to_test(market):
    with pytest.raises(InputMissing, match="risk model that scores 2026-11-20 is a stated prior"):
        run_benchmark(command, market, ["--date", f"{DAY}", "--model", "risk"])


@pytest.mark.parametrize(
    "options", [[], ["--mapping", "hmda"], ["--file", "x.csv"], ["--date", "1", "--file", "x"]]
)
def test_either_a_date_or_a_mapping_and_a_file_is_required(market, options):
    with pytest.raises(UsageError, match="either --date, or --mapping and --file"):
        run_benchmark(command, market, options)
