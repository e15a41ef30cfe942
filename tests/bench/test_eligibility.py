"""Bitsets give the result of a rule-by-rule check, for any number of products and any batches."""

import click
import numpy as np
import pytest

from pipelines.bench.benchmarks.eligibility import command
from pipelines.bench.benchmarks.random_market import DAY, write_market
from pipelines.bench.shell import run_benchmark
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility import engine
from pipelines.pairs.eligibility.bitsets import count_products, pack, unpack
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products


@pytest.mark.parametrize("products", [1, 63, 64, 65, 200])
def test_no_pair_differs_from_the_rule_by_rule_check(tmp_path, products):
    options = ["--leads", "400", "--products", f"{products}", "--check", "4000"]
    figures = run_benchmark(command, Settings(home=tmp_path), options)
    assert (figures["checked"], figures["differences"]) == (4000, 0)
    assert 0 < figures["pairs"] < figures["possible"] == 400 * products


def test_the_check_finds_one_wrong_bit(tmp_path, monkeypatch):
    def wrong(*arguments):
        eligibility = engine.find_eligible_pairs(*arguments)
        eligibility.bitsets[:, 0] ^= np.uint64(1)
        return eligibility

    monkeypatch.setattr("pipelines.bench.benchmarks.eligibility.find_eligible_pairs", wrong)
    options = ["--leads", "20", "--products", "10", "--check", "2000"]
    assert run_benchmark(command, Settings(home=tmp_path), options)["differences"] > 0


def test_the_batch_size_changes_nothing(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path)
    write_market(settings, 300, 70, 5, 3)

    def find():
        marts = settings.day_folder(settings.marts, DAY)
        with connect(settings) as connection:
            load_leads(connection, marts)
            return engine.find_eligible_pairs(
                connection, load_products(connection, marts, DAY), DAY
            )

    whole = find()
    monkeypatch.setattr(engine, "LEADS_PER_BATCH", 7)
    assert np.array_equal(find().bitsets, whole.bitsets)
    for step, counts in find().remaining.items():
        assert np.array_equal(counts, whole.remaining[step])
    assert whole.pairs_per_lead.sum() == whole.select_pairs_between().num_rows > 0


def test_batches_hold_every_lead_once_and_about_the_asked_pairs(tmp_path):
    bitsets = pack(np.ones((10, 3), np.bool_))
    eligibility = engine.Eligibility(3, bitsets, {})
    batches = list(eligibility.split_leads(6))
    assert [row for first, last in batches for row in range(first, last)] == list(range(10))
    assert max(last - first for first, last in batches) <= 3
    assert list(engine.Eligibility(3, bitsets[:0], {}).split_leads(6)) == []


@pytest.mark.parametrize("products", [1, 64, 100])
def test_flags_survive_packing(products):
    flags = np.random.default_rng(1).random((5, products)) < 0.5
    assert np.array_equal(unpack(pack(flags), products), flags)
    assert count_products(pack(flags)).tolist() == flags.sum(axis=1).tolist()


def test_a_market_without_products_is_refused(tmp_path):
    with pytest.raises(click.UsageError):
        run_benchmark(command, Settings(home=tmp_path), ["--products", "0"])
