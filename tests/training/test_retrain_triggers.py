"""Drift or miscalibration triggers a training before Monday; without them none is triggered."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models import train_models
from models.champion import registry
from models.scoring.estimators import Prior
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.training import weekly
from pipelines.training.retrain_triggers import find_trigger
from tests.helpers.drifted_home import (
    CHANGED_DAYS,
    LAST,
    publish_changed_days,
    publish_steady_days,
    replace_column,
)
from tests.helpers.marts import write_marts
from tests.helpers.trained_market import AS_OF, DAY

MONDAY = CHANGED_DAYS[0] - timedelta(days=2)


def with_models(settings: Settings, as_of: date = MONDAY) -> Settings:
    version = registry.ModelVersion(Prior("risk", "too few"), {"source": "prior", "rows": 1})
    registry.save_set(settings, as_of, {"risk": version})
    return settings


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home of days without drift, with models of Monday; read-only."""
    return with_models(publish_steady_days(tmp_path_factory.mktemp("calm")))


def with_other_incomes(leads: pa.Table) -> pa.Table:
    incomes = pc.multiply(leads["income_monthly"], pa.scalar(2.5))
    return replace_column(leads, "income_monthly", incomes)


def test_without_drift_no_training_is_triggered(calm: Settings):
    assert MONDAY.weekday() == 0
    assert find_trigger(calm, LAST) is None


def test_drifted_leads_trigger_a_training_with_the_figures(calm: Settings, tmp_path: Path):
    moved = publish_changed_days(calm, tmp_path / "moved", leads=with_other_incomes)
    trigger = find_trigger(moved, LAST)
    assert trigger is not None
    assert trigger["trigger"] == "drift"
    (figure,) = (row for row in trigger["figures"] if row["what"] == "leads: income_monthly")
    assert figure["value"] > figure["limit"] > 0.25


def test_no_training_is_triggered_within_the_cooldown_of_a_set(calm: Settings, tmp_path: Path):
    moved = publish_changed_days(calm, tmp_path / "moved", leads=with_other_incomes)
    with_models(moved, LAST - timedelta(days=1))
    assert find_trigger(moved, LAST) is None


def approving_less(outcomes: pa.Table, settings: Settings) -> pa.Table:
    """Return `outcomes` with every second approval of the last four weeks as a decline."""
    is_new = pc.greater_equal(outcomes["known_at"], settings.day_start(AS_OF - timedelta(days=28)))
    every_second = pa.array(np.arange(outcomes.num_rows) % 2 == 0)
    is_declined = pc.and_(pc.and_(is_new, every_second), pc.equal(outcomes["event"], "approved"))
    events = pc.if_else(is_declined, "declined", outcomes["event"])
    return replace_column(outcomes, "event", events)


def test_miscalibration_triggers_a_set_of_the_day(market, tmp_path):
    """The set of the day names its trigger, and is active from that day on."""
    settings, before = Settings(home=tmp_path), AS_OF - timedelta(days=28)
    marts = market.day_folder(market.marts, DAY)
    tables = {n: pq.read_table(marts / f"{n}.parquet") for n in ("training_pairs", "outcomes")}
    write_marts(tmp_path, DAY, **tables)
    train_models.train(settings, DAY, as_of=before)
    assert find_trigger(settings, DAY) is None
    tables["outcomes"] = approving_less(tables["outcomes"], settings)
    write_marts(tmp_path, DAY, **tables)
    trigger = find_trigger(settings, DAY)
    assert trigger["trigger"] == "calibration"
    assert {row["model"] for row in trigger["figures"]} == {"approval"}
    assert trigger["figures"][0]["value"] > 1.1

    (settings.registry / f"as_of={before}").rename(settings.registry / f"as_of={AS_OF}")
    summary = weekly.ensure(settings, DAY)
    manifest = read_manifest(registry.set_folder(settings, DAY))
    assert summary["as_of"] == f"{DAY}" == f"{registry.find_active_set(settings, DAY)}"
    assert manifest["training"]["trigger"] == "calibration"
    written = (registry.set_folder(settings, DAY) / "manifest.json").stat().st_mtime_ns
    assert weekly.ensure(settings, DAY)["as_of"] == f"{DAY}"
    assert (registry.set_folder(settings, DAY) / "manifest.json").stat().st_mtime_ns == written
