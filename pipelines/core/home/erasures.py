"""What an erasure leaves behind, so that nobody mistakes an erased row for damage.

An erasure changes files that were published or that landed. Later readers know by two records:

- The manifest of a changed folder has the hashes of the present files, and under `erasures` a
  tombstone: which erasure, the hash of each file before, and how many rows it lost. The manifest's
  `content_sha256`, `rows` and `counts` stay the published ones, because later steps read that
  content.
- `persons/landed.json` has, of each changed landed file, the hash of its present bytes and of what
  was received. The ledger identifies a file by what was received, so a changed file is no new one.

Rows that money and quotas depend on stay, without the person: their ids are replaced by random ones
that begin with `ERASED` and that nothing connects with a person.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.publishing import MANIFEST, SIGNATURE, file_facts, restore, sync, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json

ERASED = "erased-"
"""Beginning of the random ids that take the place of the ids of an erased person."""

BACKUPS = "backups.jsonl"
"""File of the home with the backups that were made of it: an erasure does not reach them."""

TOMBSTONES = "erasures"
"""Key of a manifest: the erasures that changed its files, in their order."""


@dataclass(frozen=True)
class ChangedLanding:
    """The hashes of a landed file that an erasure changed."""

    present: str
    received: str


NOTICES = pa.schema(
    [
        *(
            (name, pa.string())
            for name in (
                *("match_id", "institution_id", "channel_id", "lead_id", "delivery_id"),
                "kind",
            )
        ),
        ("effective_on", pa.date32()),
        ("currency", pa.string()),
        ("known_on", pa.date32()),
    ]
)
"""Columns of the notices of an erasure: one row per match that an institution received. `known_on`
is the business date with whose notices they go out."""

Facts = dict[str, Any]
Write = Callable[[Path, Path], None]
"""Writes the new content of a file: from the present file, to another path."""
Adjust = Callable[[Facts], Facts]
"""Returns a manifest that states more of a changed folder than the hashes of its files."""


def read_changed_landings(home: Path) -> dict[str, ChangedLanding]:
    """Return path below landing/ -> hashes, of each landed file that an erasure changed."""
    path = _landed(home)
    if not path.is_file():
        return {}
    return {name: ChangedLanding(**hashes) for name, hashes in read_json(path).items()}


def record_changed_landing(home: Path, name: str, before: str, present: str) -> None:
    """Record that a landed file with the hash `before` is about to have the hash `present`.

    A run that is killed before it changes the file leaves a record that fits no file.
    """
    changed = read_changed_landings(home)
    known = changed.get(name)
    received = known.received if known and known.present == before else before
    changed[name] = ChangedLanding(present, received)
    write_json(_landed(home), {path: vars(hashes) for path, hashes in changed.items()})


def read_tombstones(folder: Path) -> list[Facts]:
    """Return the tombstones of a published folder; none if it is not published."""
    path = folder / MANIFEST
    if not path.is_file():
        return []
    tombstones: list[Facts] = read_json(path).get(TOMBSTONES, [])
    return tombstones


def rewrite_folder(
    folder: Path,
    erasure: str,
    changes: Mapping[str, tuple[Write, Facts]],
    adjust: Adjust = dict,
) -> Facts:
    """Replace files of a published folder and add a tombstone to its manifest, at once.

    The folder is made beside and renamed, so a killed run leaves the old or the new one. A
    signature is left out, because it is one of the manifest before.

    Args:
        folder: The published folder.
        erasure: Id of the erasure.
        changes: File of the folder -> what writes its new content (which may write nothing: the
            file is gone then), and facts for the tombstone.
        adjust: Adds to the manifest what else changes.

    Returns:
        The manifest.
    """
    restore(folder)
    fresh, previous = (folder.with_name(f".{folder.name}.{end}") for end in ("new", "previous"))
    shutil.rmtree(fresh, ignore_errors=True)
    manifest = read_json(folder / MANIFEST)
    files, lost = dict(manifest["files"]), {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name in {MANIFEST, SIGNATURE}:
            continue
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in changes:
            os.link(path, target)
            continue
        write, facts = changes[name]
        write(path, target)
        before = files.pop(name, {})
        lost[name] = facts | {key: before[key] for key in ("sha256", "rows") if key in before}
        if target.is_file():
            shutil.copymode(path, target)
            files[name] = file_facts(target)
    tombstones = [*manifest.get(TOMBSTONES, []), {"id": erasure, "files": lost}]
    manifest = adjust(manifest | {"files": dict(sorted(files.items())), TOMBSTONES: tombstones})
    write_json(fresh / MANIFEST, manifest)
    folder.rename(previous)
    fresh.rename(folder)
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)
    return manifest


def proof_path(settings: Settings, erasure: str) -> Path:
    """Return the file with the proof of an erasure."""
    return settings.persons / "erasures" / f"{erasure}.json"


def notices_path(settings: Settings, erasure: str) -> Path:
    """Return the file with the notices of an erasure, see `NOTICES`."""
    return settings.persons / "erasures" / f"{erasure}.notices.parquet"


def load_erasure_notices(settings: Settings, day: date) -> pa.Table:
    """Return the notices of every erasure that is known on `day`, see `NOTICES`."""
    paths = sorted((settings.persons / "erasures").glob("*.notices.parquet"))
    tables = [pq.read_table(path, partitioning=None).cast(NOTICES) for path in paths]
    every = pa.concat_tables([NOTICES.empty_table(), *tables])
    return every.filter(pc.less_equal(every["known_on"], pa.scalar(day, pa.date32())))


def without_tombstones(manifest: Facts) -> str:
    """Return a manifest as text, without what an erasure may change in it."""
    left_out = {TOMBSTONES, "files"}
    return json.dumps({key: manifest[key] for key in manifest.keys() - left_out}, sort_keys=True)


def _landed(home: Path) -> Path:
    return Settings(home=home).persons / "landed.json"
