"""A training does not wait for Monday where the world has moved, and waits where it has not."""

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
from pipelines.training.retrain_triggers import fired
from tests.helpers.drifted_home import LAST, STRUCK, publish_calm, replaced, struck
from tests.helpers.marts import write_marts
from tests.models.conftest import AS_OF, DAY

MONDAY = STRUCK[0] - timedelta(days=2)


def with_models(settings: Settings, as_of: date = MONDAY) -> Settings:
    entry = registry.Entry(Prior("risk", "too few"), {"source": "prior", "rows": 1})
    registry.save(settings, as_of, {"risk": entry})
    return settings


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of days on which nothing changes, with models of Monday; not to be changed."""
    return with_models(publish_calm(tmp_path_factory.mktemp("calm")))


def with_other_incomes(leads: pa.Table) -> pa.Table:
    incomes = pc.multiply(leads["income_monthly"], pa.scalar(2.5))
    return replaced(leads, "income_monthly", incomes)


def test_nothing_causes_a_training_where_nothing_changes(calm: Settings):
    assert MONDAY.weekday() == 0
    assert fired(calm, LAST) is None


def test_leads_that_drift_from_what_was_trained_on_cause_one_and_the_cause_is_told(
    calm: Settings, tmp_path: Path
):
    moved = struck(calm, tmp_path / "moved", leads=with_other_incomes)
    because = fired(moved, LAST)
    assert because is not None
    assert because["trigger"] == "drift"
    (figure,) = (row for row in because["figures"] if row["what"] == "leads: income_monthly")
    assert figure["value"] > figure["limit"] > 0.25


def test_nothing_causes_a_training_before_the_last_set_was_seen_at_work(
    calm: Settings, tmp_path: Path
):
    moved = struck(calm, tmp_path / "moved", leads=with_other_incomes)
    with_models(moved, LAST - timedelta(days=1))
    assert fired(moved, LAST) is None


def approving_less(outcomes: pa.Table, settings: Settings) -> pa.Table:
    """Return `outcomes` in which for four weeks every second approval is a decline."""
    is_new = pc.greater_equal(outcomes["known_at"], settings.day_start(AS_OF - timedelta(days=28)))
    every_second = pa.array(np.arange(outcomes.num_rows) % 2 == 0)
    turned = pc.and_(pc.and_(is_new, every_second), pc.equal(outcomes["event"], "approved"))
    events = pc.if_else(turned, "declined", outcomes["event"])
    return replaced(outcomes, "event", events)


@pytest.mark.parametrize("approve_less", [True, False])
def test_probabilities_out_of_their_band_cause_one_between_two_mondays(
    market, tmp_path, approve_less
):
    """The set of the day says why it was made, and serves from that day on."""
    settings, before = Settings(home=tmp_path), AS_OF - timedelta(days=28)
    marts = market.day_folder(market.marts, DAY)
    tables = {n: pq.read_table(marts / f"{n}.parquet") for n in ("training_pairs", "outcomes")}
    write_marts(tmp_path, DAY, **tables)
    train_models.train(settings, DAY, as_of=before)
    if approve_less:
        tables["outcomes"] = approving_less(tables["outcomes"], settings)
        write_marts(tmp_path, DAY, **tables)
    because = fired(settings, DAY)
    if not approve_less:
        assert because is None
        return
    assert because["trigger"] == "calibration"
    assert {row["model"] for row in because["figures"]} == {"approval"}
    assert because["figures"][0]["value"] > 1.1

    (settings.registry / f"as_of={before}").rename(settings.registry / f"as_of={AS_OF}")
    said = weekly.ensure(settings, DAY)
    manifest = read_manifest(registry.folder(settings, DAY))
    assert said["as_of"] == f"{DAY}" == f"{registry.champion(settings, DAY)}"
    assert manifest["because"]["trigger"] == "calibration"
    written = (registry.folder(settings, DAY) / "manifest.json").stat().st_mtime_ns
    assert weekly.ensure(settings, DAY)["as_of"] == f"{DAY}"
    assert (registry.folder(settings, DAY) / "manifest.json").stat().st_mtime_ns == written
