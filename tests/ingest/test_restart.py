"""A run that is killed at any point and run again publishes the same bytes."""

import json
import os
import subprocess
import sys

import pytest

from pipelines.core.errors import InputMissing
from pipelines.core.settings import PROJECT, Settings
from pipelines.ingest import ingest_day
from tests.helpers.landing import DAY, land, path_of, row
from tests.ingest.published import published


def fill(settings):
    for source in ("ann", "bob"):
        spend = [row("channel_spend", campaign_id=f"c{i}") for i in range(5)]
        land(path_of(settings, "channel_spend", source), [*spend, spend[0] | {"spend": "?"}])
    land(path_of(settings, "suppressions", "platform"), [row("suppressions")])
    return settings


def killed_runs(tmp_path, every):
    fill(Settings(home=tmp_path, threads=1, memory_limit="1GB"))
    command = [sys.executable, "-m", "tests.ingest.kill_runs", str(tmp_path), str(DAY), str(every)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_killed_at_some_disk_operations_and_run_again_gives_the_same_bytes(tmp_path):
    undisturbed, *killed = killed_runs(tmp_path, every=37).values()
    assert len(killed) > 2
    assert all(run == undisturbed for run in killed)


@pytest.mark.prove
def test_a_run_killed_at_any_disk_operation_and_run_again_gives_the_same_bytes(tmp_path):
    undisturbed, *killed = killed_runs(tmp_path, every=1).values()
    assert len(killed) > 80
    assert all(run == undisturbed for run in killed)


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
