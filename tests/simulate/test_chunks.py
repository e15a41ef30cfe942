"""A large day is computed in chunks that threads share; neither changes a byte."""

from datetime import date

import numpy as np
import pytest

from pipelines.core.settings import Settings
from pipelines.simulate import SimulationPlan, simulate, world, write_feeds
from tests.helpers.feeds import SIMULATED
from tests.simulate.conftest import bytes_below

PLAN = SimulationPlan(date(2025, 2, 28), 2, 600, 8, 6, seed=3, corruption=0.02)
"""Over the turn of a month, when last month's supply links are sent."""


@pytest.fixture
def write_home(tmp_path, monkeypatch):
    """Return a function that simulates with given threads, chunk size and block size."""

    def write(threads: int, size: int, rows: int) -> dict[str, bytes]:
        monkeypatch.setattr(world, "CHUNK_SIZE", size)
        monkeypatch.setattr(write_feeds, "ROWS_PER_BLOCK", rows)
        settings = Settings(home=tmp_path / f"{threads}-{size}-{rows}", threads=threads)
        simulate(settings, PLAN)
        return bytes_below(settings.home)

    return write


def test_one_thread_and_two_write_the_same_bytes(write_home):
    one, two = (write_home(threads, size=100, rows=400) for threads in (1, 2))
    assert one == two
    assert {name.split("/")[1] for name in one if name.startswith("landing/")} == set(SIMULATED)
    truth = {name.split("/")[-1] for name in one if name.startswith("truth/")}
    assert truth >= {"world.json", "products.parquet", "leads.parquet", "shown.parquet"}


def test_the_chunk_size_changes_no_byte(write_home):
    small, large = (write_home(2, size, rows=100_000) for size in (100, 100_000))
    assert small == large


def test_a_channel_without_leads_sends_no_file_and_the_others_do(tmp_path):
    plan = SimulationPlan(date(2025, 3, 1), 1, 3, 2, 20, seed=1, corruption=0.0)
    feeds_written = simulate(Settings(home=tmp_path), plan)["feeds"]
    assert feeds_written["leads"]["rows"] == 3
    assert 1 <= feeds_written["leads"]["files"] <= 3


def test_chunks_hold_every_number_once_and_in_order(monkeypatch):
    monkeypatch.setattr(world, "CHUNK_SIZE", 3)
    chunks = [chunk.tolist() for chunk in world.split_into_chunks(np.arange(7))]
    assert chunks == [[0, 1, 2], [3, 4, 5], [6]]
    assert [chunk.size for chunk in world.split_into_chunks(np.arange(0))] == [0]
