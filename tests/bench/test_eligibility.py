"""Judging by set is judging pair by pair, for any number of products, however leads are split."""

import numpy as np
import pytest

from pipelines.bench.benchmarks.eligibility import main
from pipelines.bench.fixtures.market import DAY, write_market
from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility import engine
from pipelines.pairs.eligibility.bitsets import count_products, pack, unpack
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products


@pytest.mark.parametrize("products", [1, 63, 64, 65, 200])
def test_no_pair_differs_from_a_check_of_its_own_rule_by_rule(tmp_path, products):
    options = ["--leads", "400", "--products", f"{products}", "--check", "4000"]
    figures = main(Settings(home=tmp_path), options)
    assert (figures["checked"], figures["differences"]) == (4000, 0)
    assert 0 < figures["pairs"] < figures["possible"] == 400 * products


def test_the_check_would_notice_one_wrong_bit(tmp_path, monkeypatch):
    def wrong(*arguments):
        judged = engine.find_eligible_pairs(*arguments)
        judged.bitsets[:, 0] ^= np.uint64(1)
        return judged

    monkeypatch.setattr("pipelines.bench.benchmarks.eligibility.find_eligible_pairs", wrong)
    options = ["--leads", "20", "--products", "10", "--check", "2000"]
    assert main(Settings(home=tmp_path), options)["differences"] > 0


def test_how_leads_are_split_changes_nothing(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path)
    write_market(settings, 300, 70, 5, 3)

    def judged():
        marts = settings.day_folder(settings.marts, DAY)
        with connect(settings) as connection:
            load_leads(connection, marts)
            return engine.find_eligible_pairs(
                connection, load_products(connection, marts, DAY), DAY
            )

    whole = judged()
    monkeypatch.setattr(engine, "LEADS_PER_BATCH", 7)
    assert np.array_equal(judged().bitsets, whole.bitsets)
    for step, counts in judged().remaining.items():
        assert np.array_equal(counts, whole.remaining[step])
    assert whole.pairs_per_lead.sum() == whole.pairs_between().num_rows > 0


def test_portions_hold_every_lead_once_and_about_so_many_pairs(tmp_path):
    words = pack(np.ones((10, 3), np.bool_))
    judged = engine.Eligibility(3, words, {})
    portions = list(judged.split_leads(6))
    assert [row for first, last in portions for row in range(first, last)] == list(range(10))
    assert max(last - first for first, last in portions) <= 3
    assert list(engine.Eligibility(3, words[:0], {}).split_leads(6)) == []


@pytest.mark.parametrize("products", [1, 64, 100])
def test_flags_survive_packing(products):
    flags = np.random.default_rng(1).random((5, products)) < 0.5
    assert np.array_equal(unpack(pack(flags), products), flags)
    assert count_products(pack(flags)).tolist() == flags.sum(axis=1).tolist()


def test_a_market_without_products_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="at least 1"):
        main(Settings(home=tmp_path), ["--products", "0"])
