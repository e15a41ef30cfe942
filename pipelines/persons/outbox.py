"""What an erasure changes of deliveries besides their rows.

A file that was sent has as many rows as before, one of them without the person: receipts, states
and bills go by its rows. From a file that waits the row is removed, so that it is never sent. A
sealed file can't be opened here: one that was sent is emptied, one that waits is taken back as a
whole, and the others of it are delivered again. Manifests, signatures and transport records follow.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.home.erasures import Facts
from pipelines.core.publishing import SIGNATURE, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries.attachments import KINDS
from pipelines.deliveries.ledger.delivery_versions import FOLDER
from pipelines.deliveries.retraction_list import LISTS
from pipelines.deliveries.signatures import sign_manifests
from pipelines.transport.records import SentFile, read_record, write_record

HELD = "erased"
"""Reason of a row that is held back because its person was erased before the file was sent."""


def is_waiting(settings: Settings, folder: Path, name: str) -> bool:
    """Return whether a file of a delivery has not left yet."""
    manifest = read_manifest(folder)
    if manifest.get("delivery", FOLDER) == FOLDER:
        return False
    record = read_record(settings, date_of(folder), folder.name)
    return not any(file.name == name and file.sent_at for file in (record.files if record else ()))


def is_sealed(folder: Path, name: str) -> bool:
    """Return whether a file of a delivery is encrypted to its institution."""
    versions = read_manifest(folder).get("deliveries", ())
    return any(entry["file"] == name and entry.get("sealed_with") for entry in versions)


def adjust_manifest(
    manifest: Facts,
    removed: dict[str, int],
    emptied: set[str],
    taken_back: set[str],
) -> Facts:
    """Return the manifest of a changed delivery: versions and attachments with their new hashes.

    Args:
        manifest: With the facts of the new files.
        removed: File that waits -> rows that were removed from it.
        emptied: Sealed files that were emptied.
        taken_back: Sealed files that wait and are never sent.
    """
    changed = {name: facts["sha256"] for name, facts in manifest["files"].items()}
    result: dict[str, Any] = dict(manifest)
    for kind in ("deliveries", LISTS, *KINDS):
        if manifest.get(kind):
            result[kind] = [
                _adjust_version(entry, changed, removed, emptied) for entry in manifest[kind]
            ]
    versions = result.get("deliveries", [])
    if taken := [entry for entry in versions if entry["file"] in taken_back]:
        rows = taken[-1]["rows"]
        result |= {
            "deliveries": [entry for entry in versions if entry["file"] not in taken_back],
            "version": len(versions) - len(taken),
            "state": "held",
            "rows": 0,
            "held_back": manifest.get("held_back", 0) + rows,
            "held_reasons": {**manifest.get("held_reasons", {}), HELD: rows},
            "message": "A person of the sealed file was erased before it was sent; deliver again.",
        }
    elif versions and (rows := removed.get(versions[-1]["file"], 0)):
        reasons = dict(manifest.get("held_reasons", {}))
        result |= {
            "rows": manifest["rows"] - rows,
            "held_back": manifest.get("held_back", 0) + rows,
            "held_reasons": reasons | {HELD: reasons.get(HELD, 0) + rows},
        }
    return result


def finish_delivery(settings: Settings, folder: Path, before: dict[str, str]) -> None:
    """Sign a changed manifest again, and record that the files which had arrived are the same.

    Args:
        settings: Where the home is.
        folder: The institution's folder in the outbox.
        before: File -> its hash before the erasure.
    """
    day = date_of(folder)
    had_signature = SIGNATURE in before
    if had_signature:
        sign_manifests(settings, day, [folder.name])
    record = read_record(settings, day, folder.name)
    if record is None:
        return
    present = {
        path.name: SentFile(path.name, sha256(path), path.stat().st_size)
        for path in folder.iterdir()
        if path.is_file()
    }
    files = tuple(
        replace(present[file.name], sent_at=file.sent_at)
        if file.sent_at and before.get(file.name) == file.sha256 and file.name in present
        else file
        for file in record.files
    )
    if files != record.files:
        write_record(settings, day, replace(record, files=files))


def hash_files(folder: Path) -> dict[str, str]:
    """Return file -> hash of a delivery, its manifest and signature included."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def is_delivery(settings: Settings, folder: Path) -> bool:
    """Return whether a folder is one of an institution's deliveries: outbox/date=D/INSTITUTION."""
    parts = folder.relative_to(settings.home).parts
    return len(parts) == 3 and parts[0] == "outbox" and parts[1].startswith("date=")  # noqa: PLR2004


def date_of(folder: Path) -> date:
    """Return the date of a delivery's folder."""
    return date.fromisoformat(folder.parent.name.removeprefix("date="))


def _adjust_version(
    entry: Facts, changed: dict[str, str], removed: dict[str, int], emptied: set[str]
) -> Facts:
    name = entry["file"]
    if changed.get(name) in {None, entry["sha256"]}:
        return entry
    before = {key: entry[key] for key in ("sha256", "content_sha256", "rows") if key in entry}
    adjusted = entry | {
        "sha256": changed[name],
        "rows": entry["rows"] - removed.get(name, 0),
        "before_erasure": [*entry.get("before_erasure", ()), before],
    }
    if "content_sha256" in entry and name not in emptied:
        adjusted["content_sha256"] = changed[name]
    return adjusted
