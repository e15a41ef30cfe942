"""Ingest: from landed files to checked rows in the lake; every row is accounted for.

`plan` assigns the new files to shards, `ingest_shard` reads and validates one shard, `collect`
publishes. Each step can be killed and run again. A row goes from `shard.py` through `reading/`
(bytes to text), `validation/` (types, contract, verdict), `duplicates.py` (keys) and
`partitions.py` (publishing) into the lake, or into quarantine (`quarantine.py`).
"""

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
