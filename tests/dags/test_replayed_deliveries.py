"""A replay repeats a correction with the knowledge of its time, and names what is held today."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dags.local.replay import _repeat_later_deliveries
from pipelines.core.publishing import SIGNATURE, read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries import deliver
from tests.helpers.lake import at, write_feed
from tests.helpers.matched_day import DAY
from tests.helpers.representatives import keep

BANK = "bank-000"


def deliver_all(settings: Settings) -> dict[str, Any]:
    (shard,) = deliver.plan_shards(settings, DAY)
    return deliver.deliver(settings, DAY, shard)


def order(settings: Settings, number: int) -> dict[str, Any]:
    """Return an order of erasure against the lead of one of the bank's matches."""
    path = settings.day_folder(settings.matches, DAY) / "matches.parquet"
    rows = [row for row in _read(path) if row["institution_id"] == BANK]
    return {
        "subject_type": "lead",
        "subject": f"{rows[number]['channel_id']}/{rows[number]['lead_id']}",
        "reason": "erasure",
        "effective_at": at("2026-11-21 09:00"),
    }


def _read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def outbox_bytes(settings: Settings) -> dict[str, bytes]:
    outbox = settings.day_folder(settings.outbox, DAY)
    return {
        path.relative_to(outbox).as_posix(): path.read_bytes()
        for path in sorted(outbox.rglob("*"))
        if path.is_file() and path.name != SIGNATURE  # each home has a key of its own
    }


@pytest.mark.parametrize("corrections", keep((2,), [0, 1, 2]))
def test_a_replay_repeats_every_correction_from_its_manifest(
    matched_home: Settings, matched_copy: Settings, tmp_path: Path, corrections: int
) -> None:
    scratch = Settings(home=tmp_path / "scratch")
    shutil.copytree(matched_home.home, scratch.home)
    deliver_all(scratch)
    deliver_all(matched_copy)
    for number in range(corrections):
        day = DAY + timedelta(days=1 + number)
        write_feed(matched_copy, "suppressions", day, [order(matched_copy, number)])
        deliver_all(matched_copy)
    _repeat_later_deliveries(matched_copy, scratch, DAY)
    manifest = read_manifest(matched_copy.day_folder(matched_copy.outbox, DAY) / BANK)
    assert manifest["version"] == 1 + corrections
    assert outbox_bytes(scratch) == outbox_bytes(matched_copy)


def test_an_order_that_came_after_the_delivery_changes_no_replay(
    matched_home: Settings, matched_copy: Settings, tmp_path: Path
) -> None:
    scratch = Settings(home=tmp_path / "scratch")
    shutil.copytree(matched_home.home, scratch.home)
    deliver_all(scratch)
    deliver_all(matched_copy)
    later = DAY + timedelta(days=2)
    write_feed(matched_copy, "suppressions", later, [order(matched_copy, 0)])
    _repeat_later_deliveries(matched_copy, scratch, DAY)
    assert outbox_bytes(scratch) == outbox_bytes(matched_copy)
    held = deliver.find_held_today(matched_copy, DAY)
    assert [len(ids) for ids in held[BANK].values()] == [1]
    assert list(held[BANK]) == ["suppressed"]
