"""The record of what each institution received, by which its outcomes are judged later.

It is read from the bytes of the lead files, so a match that was planned, held back or refused is
not in it. A file of the record is named by its content and is never removed: a match that a
correction retracts was received all the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.publishing import MANIFEST, read_manifest, write_parquet
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file

KEYS = ("match_id", "channel_id", "lead_id", "institution_id", "product_id")


def record_delivered(settings: Settings, day: date, institutions: Sequence[str]) -> int:
    """Record the delivered matches of `institutions`; return their number."""
    outbox = settings.day_folder(settings.outbox, day)
    matches = pq.read_table(
        settings.day_folder(settings.matches, day) / "matches.parquet", columns=list(KEYS)
    )
    received = [
        matches.filter(
            pc.and_(
                pc.equal(matches["institution_id"], name),
                pc.is_in(matches["match_id"], value_set=_read_match_ids(outbox / name)),
            )
        )
        for name in institutions
    ]
    table = pa.concat_tables([matches.slice(0, 0), *received])
    if not table.num_rows:
        return 0
    table = table.sort_by([(name, "ascending") for name in KEYS])
    names = table["match_id"].to_pylist()
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    file = settings.day_folder(settings.delivered, day) / f"{digest}.parquet"
    if not file.is_file():
        fresh = file.with_name(f".{file.name}.new")
        write_parquet(table, fresh)
        fresh.replace(file)
    return int(table.num_rows)


def read_version_ids(folder: Path, version: Mapping[str, Any]) -> pa.Array:
    """Return the match ids of one version of an institution's lead file.

    Args:
        folder: The institution's folder in the outbox.
        version: The entry of the version in `deliveries` of its manifest.
    """
    column = lead_file.read(folder / version["file"])["match_id"]
    return column.cast(pa.string()).combine_chunks()


def _read_match_ids(folder: Path) -> pa.Array:
    """Return the match ids of every version of an institution's lead file."""
    if not (folder / MANIFEST).is_file():
        return pa.array([], pa.string())
    versions = read_manifest(folder)["deliveries"]
    ids = [read_version_ids(folder, version) for version in versions]
    return pa.chunked_array(ids, pa.string()).combine_chunks()
