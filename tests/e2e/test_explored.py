"""Exploration matches are delivered like all others and support off-policy estimates."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines.core.home.shared_marts import list_mart_files
from pipelines.core.settings import Settings
from pipelines.deliveries.deliver import deliver, plan_shards
from pipelines.ingest.ingest_day import ingest
from pipelines.matches.match_day import match
from pipelines.simulate import respond
from pipelines.transform.build import transform
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY
from tests.helpers.crowded_market import set_exploration_share

TUESDAY = MONDAY + timedelta(days=1)


@pytest.mark.prove
def test_exploration_matches_are_delivered_answered_and_used_in_training(
    ran: CompletedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = Settings(home=copy_home(ran.home, tmp_path / "home"))
    set_exploration_share(0.5, monkeypatch)
    facts = match(settings, MONDAY)
    assert facts["explored"] >= 5
    for shard in plan_shards(settings, MONDAY):
        deliver(settings, MONDAY, shard)
    respond(settings, MONDAY, TUESDAY)
    ingest(settings, TUESDAY)
    transform(settings, TUESDAY)
    matches, answered = (
        f"read_parquet('{settings.home}/{name}.parquet', hive_partitioning = false)"
        for name in (f"matches/date={MONDAY}/matches", f"truth/date={MONDAY}/responses")
    )
    files = list_mart_files(settings.day_folder(settings.marts, TUESDAY), "training_pairs")
    learned = f"read_parquet({files}, hive_partitioning = false)"
    key = "channel_id, lead_id, institution_id, product_id"
    (answered_pairs,) = duckdb.sql(
        f"select count(*) from {matches} join {answered} using (match_id) where explored"
    ).fetchall()[0]
    assert answered_pairs >= 3  # a pair that the day's broadcast showed as well is not answered
    (known,) = duckdb.sql(
        f"""
        select count(*)
        from {learned} as learned
        join {matches} as made using ({key})
        join {answered} as answered on answered.match_id = made.match_id
        where explored and learned."rank" = made."rank"
        """
    ).fetchall()[0]
    assert known >= 1
