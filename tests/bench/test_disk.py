"""`bench disk`: a day adds as much as the days before, and the first one can still be replayed."""

import pytest

from pipelines.bench.shell import run_benchmark
from pipelines.bench.studies.disk_growth import command
from pipelines.core.settings import Settings

pytestmark = pytest.mark.prove


@pytest.mark.parametrize("sampled", ["0", "3"])
def test_a_day_adds_as_much_as_the_days_before(sampled):
    options = ["--days", "9", "--leads-per-day", "100", "--institutions", "8"]
    figures = run_benchmark(command, Settings(), [*options, "--sampled", sampled])
    folders = figures["folders"]
    assert folders["lake"]["last"] > 0
    assert folders["marts"]["ratio"] < 1.5
    assert folders["marts_whole"]["ratio"] > folders["marts"]["ratio"]
    assert figures["replay"]["compared"] > 20
    assert figures["replay"]["differences"] == {}
