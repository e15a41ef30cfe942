"""The three steps of ingest, one after the other, for callers that need no task for each."""

from datetime import date
from typing import Any

from pipelines.core.settings import Settings
from pipelines.ingest.partitions import collect
from pipelines.ingest.plan import plan
from pipelines.ingest.shard import ingest_shard

__all__ = ["collect", "ingest", "ingest_shard", "plan"]


def ingest(settings: Settings, day: date) -> dict[str, Any]:
    """Do all three steps for `day`, one shard after the other; return the counts of `collect`."""
    for shard in plan(settings, day):
        ingest_shard(settings, day, shard)
    return collect(settings, day)
