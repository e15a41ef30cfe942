"""A step of ingest that is run again changes nothing; `tests/faults/` kills it before."""

import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.ingest import ingest_day
from tests.helpers.landing import DAY, land, path_of, row
from tests.ingest.published import published


def fill(settings):
    for source in ("ann", "bob"):
        spend = [row("channel_spend", campaign_id=f"c{i}") for i in range(5)]
        land(path_of(settings, "channel_spend", source), [*spend, spend[0] | {"spend": "?"}])
    land(path_of(settings, "suppressions", "platform"), [row("suppressions")])
    return settings


@pytest.fixture
def filled(settings):
    return fill(settings)


def test_a_shard_that_is_run_again_changes_nothing(filled, tmp_path):
    other = fill(Settings(home=tmp_path / "other", threads=1, memory_limit="1GB"))
    ingest_day.ingest(other, DAY)
    for shard in ingest_day.plan(filled, DAY):
        ingest_day.ingest_shard(filled, DAY, shard)
        ingest_day.ingest_shard(filled, DAY, shard)
    ingest_day.collect(filled, DAY)
    assert published(filled) == published(other)


def test_collect_needs_every_shard_and_publishes_nothing_before(filled):
    first, *_ = ingest_day.plan(filled, DAY)
    ingest_day.ingest_shard(filled, DAY, first)
    with pytest.raises(InputMissing, match=r"1 of 2 shards are not done \(shard=1\)"):
        ingest_day.collect(filled, DAY)
    assert not filled.lake.exists()


def test_collect_can_be_repeated_after_it_succeeded(filled):
    result = ingest_day.ingest(filled, DAY)
    assert ingest_day.collect(filled, DAY)["feeds"] == result["feeds"]


def test_collect_without_a_plan_says_what_to_run(filled):
    with pytest.raises(InputMissing, match="Run the step `plan` first"):
        ingest_day.collect(filled, DAY)
