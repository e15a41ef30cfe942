"""A model set depends on what was known before its anchor, and on nothing else."""

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
from models.features.feature_definitions import describe_features
from models.model_set import load
from models.params import params
from models.scoring.estimators import Prior
from models.train_models import ensure, train
from pipelines.core.errors import BanyanError, InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import PROJECT, Settings
from tests.helpers.marts import write_marts
from tests.models.conftest import AS_OF, DAY


def contents(settings: Settings) -> dict[str, bytes]:
    """Return the files of the set; of the manifest all but the version of the code."""
    folder = registry.folder(settings, AS_OF)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    assert {"manifest.json", "approval/model.txt", "risk/model.json"} <= set(files)
    manifest = json.loads(files["manifest.json"])
    del manifest["code_version"]
    return files | {"manifest.json": json.dumps(manifest).encode()}


def market_of_days(market: Settings, home: Path, *days: date) -> Settings:
    """Return a home in which the marts of each of `days` are those of the market's day."""
    folder = market.day_folder(market.marts, DAY)
    tables = {n: pq.read_table(folder / f"{n}.parquet") for n in ("training_pairs", "outcomes")}
    for day in days:
        write_marts(home, day, **tables)
    return Settings(home=home)


def shuffled(settings: Settings, name: str):
    table = pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet")
    return table.take(np.random.default_rng(1).permutation(table.num_rows))


def test_rows_in_another_order_make_the_same_bytes(market, tmp_path):
    tables = {name: shuffled(market, name) for name in ("training_pairs", "outcomes")}
    other = write_marts(tmp_path, DAY, **tables)
    train(other, DAY)
    assert contents(other) == contents(market)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads_and_hash_seed_make_the_same_bytes(market, tmp_path, threads):
    write_marts(tmp_path, DAY)
    environment = os.environ | {
        "BANYAN_HOME": str(tmp_path),
        "BANYAN_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "PYTHONHASHSEED": threads,
    }
    program = (
        "from datetime import date; from models.train import train;"
        "from pipelines.settings import Settings;"
        f"train(Settings(), date.fromisoformat('{DAY}'))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=environment, check=True)
    assert contents(Settings(home=tmp_path)) == contents(market)


def test_what_came_to_be_known_since_the_anchor_changes_nothing(market, tmp_path):
    outcomes = pq.read_table(market.day_folder(market.marts, DAY) / "outcomes.parquet")
    since = pc.greater_equal(outcomes["known_at"], market.day_start(AS_OF))
    assert pc.sum(since).as_py() > 0
    later = write_marts(tmp_path, DAY, outcomes=outcomes.filter(pc.invert(since)))
    train(later, DAY)
    assert contents(later) == contents(market)


def test_any_day_of_the_week_trains_the_same_set_once(market, tmp_path):
    settings = market_of_days(market, tmp_path, AS_OF, DAY)
    first = ensure(settings, AS_OF)
    written = (registry.folder(settings, AS_OF) / "manifest.json").stat().st_mtime_ns
    assert ensure(settings, DAY) == first
    assert (registry.folder(settings, AS_OF) / "manifest.json").stat().st_mtime_ns == written
    assert contents(settings) == contents(market)


def test_the_approval_model_has_learned_what_decides(market):
    facts = registry.facts(market, AS_OF)["approval"]
    assert facts["source"] == "model"
    assert facts["figures"]["auc_low"] > 0.70
    assert facts["figures"]["rows"] < facts["rows"]
    assert date.fromisoformat(facts["last_lead_on"]) < AS_OF


def test_too_few_outcomes_leave_the_stated_prior_and_say_so(market):
    facts = registry.facts(market, AS_OF)["risk"]
    assert facts["source"] == "prior"
    assert "min_rows" in facts["reason"]
    assert "figures" not in facts


def test_a_platform_without_any_outcome_runs_on_priors(tmp_path):
    settings = write_marts(tmp_path, DAY, pairs=0)
    said = train(settings, DAY)
    assert {said[name]["source"] for name in ("risk", "approval", "take_up")} == {"prior"}


def test_while_nothing_is_learned_each_day_has_a_set_of_its_own(tmp_path):
    week, next_day = AS_OF, AS_OF + timedelta(days=1)
    for day in (week, next_day):
        settings = write_marts(tmp_path, day, pairs=0)
        said = ensure(settings, day)
        assert said["as_of"] == f"{day}"
        assert registry.champion(settings, day) == day
    assert registry.has(settings, week)


def test_the_registry_holds_no_person(market):
    lead = pq.read_table(market.day_folder(market.marts, DAY) / "training_pairs.parquet")["lead_id"]
    texts = b"".join(contents(market).values())
    assert texts
    assert not any(name.encode() in texts for name in lead.slice(0, 200).to_pylist())


def test_the_latest_set_before_a_day_scores_it(market):
    assert registry.champion(market, DAY + timedelta(days=30)) == AS_OF
    with pytest.raises(InputMissing, match="no model set as of 2026-11-15"):
        registry.champion(market, AS_OF - timedelta(days=1))


def test_the_manifest_proves_the_files(market):
    manifest = read_manifest(registry.folder(market, AS_OF))
    assert manifest["as_of"] == f"{AS_OF}"
    assert set(manifest["files"]) == set(contents(market)) - {"manifest.json"}


def test_training_without_marts_says_what_is_missing(tmp_path: Path):
    with pytest.raises(InputMissing, match="not published"):
        train(Settings(home=tmp_path), DAY)


def test_a_leaking_challenger_leaves_the_champion_and_without_one_the_day_refuses(
    market, tmp_path, monkeypatch
):
    class Leaks(BanyanError):
        pass

    def refuse(*_args, **_options):
        raise Leaks("the feature `verdict` knows the outcome")

    settings = market_of_days(market, tmp_path, DAY, DAY + timedelta(days=7))
    with monkeypatch.context() as leaking:
        leaking.setattr("models.train_models.fit_or_prior", refuse)
        with pytest.raises(Leaks):
            train(settings, DAY)
    assert not registry.has(settings, AS_OF)

    train(settings, DAY)
    before = registry.read(settings, AS_OF)["approval"]
    monkeypatch.setattr("models.train_models.fit_or_prior", refuse)
    later = DAY + timedelta(days=7)
    train(settings, later)
    manifest = read_manifest(registry.folder(settings, AS_OF + timedelta(days=7)))
    assert manifest["decisions"]["approval"]["decision"] == "kept"
    assert "knows the outcome" in manifest["decisions"]["approval"]["reason"]
    assert manifest["models"]["approval"]["trained_as_of"] == f"{AS_OF}"
    assert load(settings, later).estimators["approval"] == before


def test_a_kept_champion_stands_in_each_set_byte_for_byte_and_the_registry_says_since_when(
    market, tmp_path
):
    later = DAY + timedelta(days=7)
    settings = market_of_days(market, tmp_path, DAY)
    train(settings, DAY)
    outcomes = pq.read_table(market.day_folder(market.marts, DAY) / "outcomes.parquet")
    known = pc.less(outcomes["known_at"], market.day_start(AS_OF - timedelta(days=30)))
    write_marts(tmp_path, later, outcomes=outcomes.filter(known))
    train(settings, later)
    week, next_week = (registry.folder(settings, AS_OF + timedelta(days=days)) for days in (0, 7))
    for name in ("model.txt", "model.json", "params.yml", "features.json"):
        stands = week / "approval" / name
        assert (next_week / "approval" / name).read_bytes() == stands.read_bytes()
    assert (next_week / "challenger" / "approval" / "model.txt").is_file()
    decided = read_manifest(next_week)["decisions"]["approval"]
    assert "its data is stale" in decided["reason"]
    assert load(settings, later).estimators["approval"].trees == (
        load(settings, DAY).estimators["approval"].trees
    )

    reigns = {reign.model: reign for reign in registry.history(settings)}
    assert reigns["approval"].trained_as_of == AS_OF
    assert reigns["approval"].since == AS_OF
    assert reigns["approval"].until is None
    assert reigns["risk"].source == "prior"


def test_who_was_champion_from_when_to_when_is_read_from_the_sets(tmp_path):
    settings, weeks = Settings(home=tmp_path), [AS_OF + timedelta(days=7 * n) for n in range(3)]
    for week, trained in zip(weeks, (weeks[0], weeks[0], weeks[2]), strict=True):
        facts = {"source": "prior", "rows": 1, "trained_as_of": f"{trained}"}
        decisions = {"risk": {"decision": "x", "reason": f"because of {trained}"}}
        entry = registry.Entry(Prior("risk", "too few"), facts)
        registry.save(settings, week, {"risk": entry}, said={"decisions": decisions})
    first, second = registry.history(settings)
    assert (first.trained_as_of, first.since, first.until) == (
        weeks[0],
        weeks[0],
        weeks[2] - timedelta(days=1),
    )
    assert (second.trained_as_of, second.until) == (weeks[2], None)
    assert second.reason == f"because of {weeks[2]}"


def test_the_registry_says_what_each_feature_means(market):
    for model in ("risk", "approval", "take_up"):
        told = json.loads((registry.folder(market, AS_OF) / model / "features.json").read_text())
        assert told
        assert [name for name, meaning in told.items() if not meaning] == []
    for name in params().features_of("approval").names:
        assert describe_features([name])[name], (
            f"say in models/features/feature_definitions.py what {name} means"
        )
