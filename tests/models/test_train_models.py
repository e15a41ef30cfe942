"""A model set depends only on what was known before its date."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.champion import registry
from models.champion.history import load_tenures
from models.features.feature_definitions import describe_features
from models.model_set import load
from models.params import params
from models.scoring.estimators import Prior, TrainedModel
from models.train_models import ensure_model_set, train
from pipelines.core.errors import BanyanError, InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.marts import write_marts
from tests.helpers.trained_market import AS_OF, DAY


def contents(settings: Settings) -> dict[str, bytes]:
    """Return the files of the set; of the manifest all but the version of the code."""
    folder = registry.set_folder(settings, AS_OF)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert {"manifest.json", "approval/model.txt", "risk/model.json"} <= set(files)
    manifest = json.loads(files["manifest.json"])
    del manifest["code_version"]
    return files | {"manifest.json": json.dumps(manifest).encode()}


def market_of_days(market: Settings, home: Path, *days: date) -> Settings:
    """Return a home with the marts of the market's day on each of `days`."""
    folder = market.day_folder(market.marts, DAY)
    tables = {n: pq.read_table(folder / f"{n}.parquet") for n in ("training_pairs", "outcomes")}
    for day in days:
        write_marts(home, day, **tables)
    return Settings(home=home)


def shuffled(settings: Settings, name: str):
    table = pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet")
    return table.take(np.random.default_rng(1).permutation(table.num_rows))


def test_the_order_of_rows_and_threads_do_not_change_the_bytes(market, tmp_path):
    assert market.threads > 1
    tables = {name: shuffled(market, name) for name in ("training_pairs", "outcomes")}
    other = write_marts(tmp_path, DAY, **tables).model_copy(update={"threads": 1})
    train(other, DAY)
    assert contents(other) == contents(market)


@pytest.mark.prove  # the test above has the threads, tests/e2e/test_replay.py another hash seed
def test_threads_and_hash_seed_do_not_change_the_bytes(market, tmp_path):
    """The market is trained with two threads and a seed of its own."""
    assert market.threads > 1
    write_marts(tmp_path, DAY)
    environment = os.environ | {
        "BANYAN_HOME": str(tmp_path),
        "BANYAN_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "1",
    }
    program = (
        "from datetime import date; from models.train_models import train;"
        "from pipelines.core.settings import Settings;"
        f"train(Settings(), date.fromisoformat('{DAY}'))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=environment, check=True)
    assert contents(Settings(home=tmp_path)) == contents(market)


def test_outcomes_known_after_the_cutoff_change_nothing(market, tmp_path):
    outcomes = pq.read_table(market.day_folder(market.marts, DAY) / "outcomes.parquet")
    since = pc.greater_equal(outcomes["known_at"], market.day_start(AS_OF))
    assert pc.sum(since).as_py() > 0
    later = write_marts(tmp_path, DAY, outcomes=outcomes.filter(pc.invert(since)))
    train(later, DAY)
    assert contents(later) == contents(market)


def test_each_day_of_the_week_uses_the_same_set_trained_once(market, tmp_path):
    settings = market_of_days(market, tmp_path, AS_OF, DAY)
    first = ensure_model_set(settings, AS_OF)
    written = (registry.set_folder(settings, AS_OF) / "manifest.json").stat().st_mtime_ns
    assert ensure_model_set(settings, DAY) == first
    assert (registry.set_folder(settings, AS_OF) / "manifest.json").stat().st_mtime_ns == written
    assert contents(settings) == contents(market)


def test_the_approval_model_discriminates(market):
    metadata = registry.load_metadata(market, AS_OF)["approval"]
    assert metadata["source"] == "model"
    assert metadata["figures"]["auc_low"] > 0.70
    assert metadata["figures"]["rows"] < metadata["rows"]
    assert date.fromisoformat(metadata["last_lead_on"]) < AS_OF


def test_with_too_few_outcomes_the_stated_prior_is_active(market):
    metadata = registry.load_metadata(market, AS_OF)["risk"]
    assert metadata["source"] == "prior"
    assert "min_rows" in metadata["reason"]
    assert "figures" not in metadata


def test_a_platform_without_any_outcome_runs_on_priors(tmp_path):
    settings = write_marts(tmp_path, DAY, pairs=0)
    summary = train(settings, DAY)
    assert {summary[name]["source"] for name in ("risk", "approval", "take_up")} == {"prior"}


def test_a_market_without_a_model_has_a_set_for_each_day(tmp_path):
    week, next_day = AS_OF, AS_OF + timedelta(days=1)
    for day in (week, next_day):
        settings = write_marts(tmp_path, day, pairs=0)
        summary = ensure_model_set(settings, day)
        assert summary["as_of"] == f"{day}"
        assert registry.find_active_set(settings, day) == day
    assert registry.is_published(settings, week)


def test_the_registry_contains_no_lead(market):
    lead = pq.read_table(market.day_folder(market.marts, DAY) / "training_pairs.parquet")["lead_id"]
    texts = b"".join(contents(market).values())
    assert texts
    assert not any(name.encode() in texts for name in lead.slice(0, 200).to_pylist())


def test_the_latest_set_before_a_day_scores_it(market):
    assert registry.find_active_set(market, DAY + timedelta(days=30)) == AS_OF
    with pytest.raises(InputMissing, match="no model set as of 2026-11-15"):
        registry.find_active_set(market, AS_OF - timedelta(days=1))


def test_the_manifest_lists_the_files(market):
    manifest = read_manifest(registry.set_folder(market, AS_OF))
    assert manifest["as_of"] == f"{AS_OF}"
    assert set(manifest["files"]) == set(contents(market)) - {"manifest.json"}


def test_training_without_marts_fails(tmp_path: Path):
    with pytest.raises(InputMissing, match="not published"):
        train(Settings(home=tmp_path), DAY)


def test_a_leaking_challenger_is_rejected_and_without_champion_the_training_fails(
    market, tmp_path, monkeypatch
):
    class Leaks(BanyanError):
        pass

    def refuse(*_args, **_options):
        raise Leaks("the feature `verdict` is a leak")

    settings = market_of_days(market, tmp_path, DAY, DAY + timedelta(days=7))
    with monkeypatch.context() as leaking:
        leaking.setattr("models.train_models.fit_or_use_prior", refuse)
        with pytest.raises(Leaks):
            train(settings, DAY)
    assert not registry.is_published(settings, AS_OF)

    train(settings, DAY)
    before = registry.load_estimators(settings, AS_OF)["approval"]
    monkeypatch.setattr("models.train_models.fit_or_use_prior", refuse)
    later = DAY + timedelta(days=7)
    train(settings, later)
    manifest = read_manifest(registry.set_folder(settings, AS_OF + timedelta(days=7)))
    assert manifest["decisions"]["approval"]["decision"] == "retained"
    assert "is a leak" in manifest["decisions"]["approval"]["reason"]
    assert manifest["models"]["approval"]["trained_as_of"] == f"{AS_OF}"
    assert load(settings, later).estimators["approval"] == before


def test_a_retained_champion_is_copied_into_each_set_byte_for_byte(market, tmp_path):
    later = DAY + timedelta(days=7)
    settings = market_of_days(market, tmp_path, DAY)
    train(settings, DAY)
    outcomes = pq.read_table(market.day_folder(market.marts, DAY) / "outcomes.parquet")
    known = pc.less(outcomes["known_at"], market.day_start(AS_OF - timedelta(days=30)))
    write_marts(tmp_path, later, outcomes=outcomes.filter(known))
    train(settings, later)
    week, next_week = (
        registry.set_folder(settings, AS_OF + timedelta(days=days)) for days in (0, 7)
    )
    for name in ("model.txt", "model.json", "params.yml", "features.json"):
        original = week / "approval" / name
        assert (next_week / "approval" / name).read_bytes() == original.read_bytes()
    assert (next_week / "challenger" / "approval" / "model.txt").is_file()
    decision = read_manifest(next_week)["decisions"]["approval"]
    assert "its data is stale" in decision["reason"]
    retained, champion = (load(settings, day).estimators["approval"] for day in (later, DAY))
    assert isinstance(retained, TrainedModel)
    assert isinstance(champion, TrainedModel)
    assert retained.trees == champion.trees

    tenures = {tenure.model: tenure for tenure in load_tenures(settings)}
    assert tenures["approval"].trained_as_of == AS_OF
    assert tenures["approval"].since == AS_OF
    assert tenures["approval"].until is None
    assert tenures["risk"].source == "prior"


def test_tenures_are_read_from_the_sets(tmp_path):
    settings, weeks = Settings(home=tmp_path), [AS_OF + timedelta(days=7 * n) for n in range(3)]
    for week, trained in zip(weeks, (weeks[0], weeks[0], weeks[2]), strict=True):
        metadata = {"source": "prior", "rows": 1, "trained_as_of": f"{trained}"}
        decisions = {"risk": {"decision": "x", "reason": f"because of {trained}"}}
        version = registry.ModelVersion(Prior("risk", "too few"), metadata)
        registry.save_set(settings, week, {"risk": version}, manifest={"decisions": decisions})
    first, second = load_tenures(settings)
    assert (first.trained_as_of, first.since, first.until) == (
        weeks[0],
        weeks[0],
        weeks[2] - timedelta(days=1),
    )
    assert (second.trained_as_of, second.until) == (weeks[2], None)
    assert second.reason == f"because of {weeks[2]}"


def test_the_registry_has_the_meaning_of_each_feature(market):
    for model in ("risk", "approval", "take_up"):
        meanings = json.loads(
            (registry.set_folder(market, AS_OF) / model / "features.json").read_text()
        )
        assert meanings
        assert [name for name, meaning in meanings.items() if not meaning] == []
    for name in params().model_features("approval").names:
        assert describe_features([name])[name], (
            f"models/features/feature_definitions.py has no definition of {name}"
        )
