"""A large day is computed in parts that threads share, and nothing of that can be seen in it."""

from datetime import date

import numpy as np
import pytest

from expectations.contracts import feeds
from pipelines.bench.benchmarks.simulate import main
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.simulate import Plan, parallel_chunks, simulate, write_feeds
from tests.simulate.conftest import bytes_below

PLAN = Plan(date(2025, 2, 28), 2, 1_500, 12, 6, seed=3, dirt=0.02)
"""Over the turn of a month, when last month's supply links come."""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that simulates with so many threads and numbers in a part."""

    def write(threads: int, size: int, rows: int) -> dict[str, bytes]:
        monkeypatch.setattr(parallel_chunks, "SIZE", size)
        monkeypatch.setattr(write_feeds, "ROWS", rows)
        settings = Settings(home=tmp_path / f"{threads}-{size}-{rows}", threads=threads)
        simulate(settings, PLAN)
        return bytes_below(settings.home)

    return write


def test_one_thread_and_two_write_the_same_bytes(written):
    one, two = (written(threads, size=100, rows=400) for threads in (1, 2))
    assert one == two
    assert {name.split("/")[1] for name in one if name.startswith("landing/")} == set(feeds())
    truth = {name.split("/")[-1] for name in one if name.startswith("truth/")}
    assert truth >= {"world.json", "products.parquet", "leads.parquet", "shown.parquet"}


def test_the_size_of_a_part_changes_nothing(written):
    small, large = (written(2, size, rows=100_000) for size in (100, 100_000))
    assert small == large


def test_a_channel_without_leads_sends_no_file_and_the_others_do(tmp_path):
    settings = Settings(home=tmp_path)
    said = simulate(settings, Plan(date(2025, 3, 1), 1, 3, 2, 20, seed=1, dirt=0.0))
    assert said["feeds"]["leads"]["rows"] == 3
    assert 1 <= said["feeds"]["leads"]["files"] <= 3


def test_parts_hold_every_number_once_and_in_order(monkeypatch):
    monkeypatch.setattr(parallel_chunks, "SIZE", 3)
    assert [part.tolist() for part in parallel_chunks.parts(np.arange(7))] == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]
    assert [part.size for part in parallel_chunks.parts(np.arange(0))] == [0]


def test_the_benchmark_says_what_a_day_of_every_feed_took():
    figures = main(Settings(), ["--leads", "300", "--institutions", "5", "--seed", "2"])
    assert [figures[name] for name in ("leads", "institutions", "seed")] == [300, 5, 2]
    assert figures["feeds"].keys() == set(feeds())
    assert figures["seconds"] > 0
    assert figures["processor_seconds"] > 0
    assert figures["peak_mb"] > 10


def test_the_benchmark_refuses_an_empty_market():
    with pytest.raises(UsageError, match="at least 1"):
        main(Settings(), ["--leads", "0"])
