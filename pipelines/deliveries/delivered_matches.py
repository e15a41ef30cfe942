"""The record of what each institution received, by which its outcomes are judged later.

It is read from the bytes of the lead files (of a sealed one, from the ids that were recorded when
it was sealed), so a match that was planned, held back or refused is not in it. A file of the record
is named by its content and is never removed: a match that a correction retracts was received all
the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, read_manifest, sync, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage
from pipelines.deliveries import lead_file

KEYS = ("match_id", "channel_id", "lead_id", "institution_id", "product_id")


def record_delivered(settings: Settings, day: date, institutions: Sequence[str]) -> int:
    """Record the delivered matches of `institutions`; return their number."""
    outbox = settings.day_folder(settings.outbox, day)
    received = {name: _read_match_ids(outbox / name) for name in institutions}
    matches = pq.read_table(
        settings.day_folder(settings.matches, day) / "matches.parquet",
        columns=list(KEYS),
        filters=pc.is_in(pc.field("institution_id"), pa.array([*received], pa.string())),
        partitioning=None,
    )
    ids = tabulate_ids(received)
    table = matches.join(ids, keys=ids.column_names, join_type="left semi")
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


def read_version_ids(folder: Path, version: Mapping[str, Any]) -> list[str]:
    """Return the match ids of one version of a lead file.

    Args:
        folder: The published delivery, `outbox/date=D/INSTITUTION`.
        version: Its entry under `deliveries` in the manifest.

    Raises:
        IntegrityError: The ids of a sealed version are lost: nobody here can read the file.
    """
    if not version.get("sealed_with"):
        ids: list[str] = lead_file.read(folder / version["file"])["match_id"].to_pylist()
        return ids
    path = sealed_ids_path(folder, version)
    try:
        return path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        raise IntegrityError(
            describe_damage(path, "the match ids of a sealed lead file can't be read")
        ) from None


def write_sealed_ids(folder: Path, version: Mapping[str, Any], match_ids: Sequence[str]) -> None:
    """Record the match ids of a version that is about to be published sealed.

    The file is named by the content, so that one of a run that was killed is never mistaken.
    """
    path = sealed_ids_path(folder, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text("".join(f"{name}\n" for name in match_ids), "ascii")
    sync(fresh)
    fresh.replace(path)


def sealed_ids_path(folder: Path, version: Mapping[str, Any]) -> Path:
    """Return the file with the match ids of a sealed version: in `delivered/`, not the outbox."""
    record = folder.parents[2] / "delivered" / folder.parent.name / "sealed"
    return record / f"{folder.name}.v{version['version']}.{version['content_sha256'][:16]}.txt"


def tabulate_ids(match_ids: Mapping[str, Sequence[str]]) -> pa.Table:
    """Return the table `institution_id`, `match_id` of the match ids by institution."""
    owners = [pa.repeat(name, len(ids)) for name, ids in match_ids.items()]
    return pa.table(
        {
            "institution_id": pa.chunked_array(owners, pa.string()),
            "match_id": pa.chunked_array([*match_ids.values()], pa.string()),
        }
    )


def _read_match_ids(folder: Path) -> list[str]:
    """Return the match ids of every version of an institution's lead file."""
    if not (folder / MANIFEST).is_file():
        return []
    versions = read_manifest(folder)["deliveries"]
    return [name for version in versions for name in read_version_ids(folder, version)]
