"""The simulator benchmark measures a day with every feed."""

import pytest

from expectations.contracts import feeds
from pipelines.bench.benchmarks.simulate import main
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings


def test_the_figures_of_a_day_with_every_feed():
    figures = main(Settings(), ["--leads", "300", "--institutions", "5", "--seed", "2"])
    assert [figures[name] for name in ("leads", "institutions", "seed")] == [300, 5, 2]
    assert figures["feeds"].keys() == set(feeds())
    assert figures["seconds"] > 0
    assert figures["processor_seconds"] > 0
    assert figures["peak_mb"] > 10


def test_an_empty_market_is_wrong_use():
    with pytest.raises(UsageError, match="at least 1"):
        main(Settings(), ["--leads", "0"])
