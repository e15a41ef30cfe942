"""Ingest: from files as received to checked rows in the lake, nothing lost on the way.

`plan` says what is new and deals it to shards, `ingest_shard` works on one of them, `collect`
publishes. Each step can be killed and run again.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from pipelines.core.settings import Settings
from pipelines.ingest.plan_file import write_plan
from pipelines.ingest.planning import make_plan
from pipelines.ingest.publish_partitions import publish_shards
from pipelines.ingest.shard import run_shard

__all__ = ["collect", "ingest", "ingest_shard", "plan"]


def plan(settings: Settings, day: date) -> list[dict[str, int]]:
    """Find what is new in landing/ up to `day` and deal it to shards; at least one, maybe empty.

    Returns:
        One small dict per shard (`shard`, its number, `files` and `bytes`), for `ingest_shard`.
    """
    made = make_plan(settings, day)
    write_plan(settings, made)
    return [
        {"shard": number, "files": len(tasks), "bytes": sum(task.entry.bytes for task in tasks)}
        for number, tasks in enumerate(made.shards)
    ]


def ingest_shard(settings: Settings, day: date, shard: Mapping[str, int]) -> dict[str, int]:
    """Read, parse and judge the files of one shard (an element of what `plan` returned).

    Returns:
        `shard`, `files`, `received` (rows) and `refused_files`.
    """
    return run_shard(settings, day, shard["shard"])


def collect(settings: Settings, day: date) -> dict[str, Any]:
    """Publish the partitions of lake/ and quarantine/ and close `day`.

    Returns:
        `date`, `feeds` (the counts of `day` for each feed), `partitions` (how many were
        published), `standing` (how many could not be built again) and `misplaced` (files that
        lie in no feed's folder).

    Raises:
        InputMissing: A shard is not done.
        IntegrityError: The counts of a partition don't add up; it was not published.
    """
    return publish_shards(settings, day)


def ingest(settings: Settings, day: date) -> dict[str, Any]:
    """Do all three steps for `day`, one shard after the other; returns what `collect` does."""
    for shard in plan(settings, day):
        ingest_shard(settings, day, shard)
    return collect(settings, day)
