"""The study of the chain compares models that differ in what they know of the partners only."""

import subprocess
import sys
from datetime import date

import click
import duckdb
import numpy as np
import pytest

from models.params import params
from pipelines.bench.shell import run_benchmark
from pipelines.bench.studies.supply_chain import (
    CHANNELS,
    FirmMarket,
    command,
    feature_sets,
    measure,
    summarise,
    widen_band,
)
from pipelines.core.settings import Settings
from pipelines.simulate.world import World

MONTH = date(2025, 3, 1)


def test_the_models_differ_in_what_they_know_of_partners():
    sets = {name: set(features.names) for name, features in feature_sets().items()}
    assert sets["own"] < sets["buyers_late"] < sets["partners"]
    assert sets["partners"] == set(params().model_features("risk").names)
    assert sets["buyers_late"] - sets["own"] == {"supply_buyers_late_share"}
    assert {"supply_paid_late_share", "peers_arrears_rate", "bureau_score"} <= sets["own"]
    assert not {name for name in sets["own"] if "buyers_" in name or "sellers_" in name}


def test_recall_is_the_share_of_defaults_among_the_riskiest_tenth():
    truth = np.repeat([0.5, 0.05], [10, 90])
    assert measure(truth, truth)["recall"] == pytest.approx(5 / 9.5)
    assert measure(-truth, truth)["recall"] == pytest.approx(0.5 / 9.5)
    assert measure(np.zeros(100), truth)["auc"] == pytest.approx(0.5)


def test_a_gain_has_an_interval_over_markets():
    def market(gain: float) -> dict:
        model = {"auc": 0.7, "recall": 0.3}
        better = {"auc": 0.7 + gain, "recall": 0.3}
        counts = {"loans": 1, "defaults": 1, "leads": 1, "kept": int(gain > 0.03)}
        worse = {"auc": 0.7 - gain, "recall": 0.3}
        models = {"own": model, "buyers_late": model, "partners": better, "untested": worse}
        return models | {"truth": better} | counts

    summary = summarise([market(0.02), market(0.04), market(0.06)])
    gain = summary["gain"]["over_own"]
    assert gain["auc"] == {"mean": 0.04, "low": -0.0097, "high": 0.0897}
    assert gain["recall"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert summary["gain"]["untested_over_own"]["auc"]["mean"] == -0.04
    assert summary["kept"] == 2


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_shuffled_links_keep_each_buyers_payments_and_lose_who_sold(tmp_path, is_shuffled):
    homes = tmp_path / "linked", tmp_path / "compared"
    for home, shuffles in zip(homes, (False, is_shuffled), strict=True):
        world = World(Settings(home=home), 300, 3, CHANNELS, 2)
        FirmMarket(world, is_shuffled=shuffles).write_supply_links(MONTH, is_first=False)

    def links(columns: str) -> set[tuple]:
        linked, compared = (
            set(duckdb.sql(f"select {columns} from '{home}/landing/**/*.parquet'").fetchall())
            for home in homes
        )
        return linked & compared if len(linked) else set()

    kept, pairs = links("buyer_id, amount, paid_late_share"), links("buyer_id, seller_id")
    assert len(kept) > 700
    assert (len(pairs) > 700) is not is_shuffled


def test_generous_lenders_state_the_risk_of_the_applicants_that_they_approve(tmp_path):
    assert widen_band(np.array([0.05, 0.2]), 0.0).tolist() == [0.05, 0.2]
    world = World(Settings(home=tmp_path), 50, 6, CHANNELS, 2)
    strict, generous = (
        FirmMarket(world, is_shuffled=False, generosity=fall).products for fall in (0.0, 2.0)
    )
    assert np.allclose(strict.cut - generous.cut, 2.0)
    odds = [products.pd_max / (1 - products.pd_max) for products in (strict, generous)]
    assert np.log(odds[1] / odds[0]) == pytest.approx(0.9, abs=0.02)


def test_progress_reaches_a_log_at_once(tmp_path):
    """A benchmark that is stopped has lost nothing that it measured."""
    code = (
        "import os; from pipelines.bench.shell import show_progress; "
        "show_progress('chain', 'hop1, seed 1: 0.7'); os._exit(9)"
    )
    log = tmp_path / "log"
    with log.open("wb") as written:
        ended = subprocess.run([sys.executable, "-c", code], stderr=written, check=False)
    assert ended.returncode == 9
    assert log.read_text() == "bench chain: hop1, seed 1: 0.7\n"


def test_an_unknown_condition_is_wrong_use(tmp_path):
    with pytest.raises(click.UsageError, match="hop9"):
        run_benchmark(command, Settings(home=tmp_path), ["--conditions", "hop9"])
