"""Attachments: versioned files beside a lead file, such as outcome receipts and withdrawal notices.

A file that was published never changes: another content is the next version, the same content
changes nothing. A new lead file replaces the folder of its institution, so `deliver` reads the
attachments before and publishes them again after.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.outbound_contracts import load_outbound
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, restore, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.deliveries.ledger.delivery_versions import (
    FOLDER,
    NOTHING,
    describe_nothing,
    name_delivery,
)

KINDS = {
    "receipts": "outcome_receipt",
    "notices": "withdrawal_notice",
    "return_decisions": "return_decision",
    "receipt_answers": "receipt_answer",
}
"""Key of the manifest that lists the versions -> name of the file and of its outbound contract."""

VERSION_STATED_SINCE = 2
"""The version from which on each contract of an attachment has its version in the file."""

WRITTEN_FACTS = ("files", "content_sha256", "code_version", "package_version")
"""Facts of a manifest that `publishing` states itself."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Attachments:
    """The attachments of one institution and day: facts of each version, and the bytes."""

    versions: Mapping[str, tuple[Facts, ...]] = field(default_factory=dict)
    """Kind -> version, file, rows, sha256 and schema_version of each; oldest first."""
    content: Mapping[str, bytes] = field(default_factory=dict)
    """File name -> bytes."""

    def newest(self, kind: str) -> Facts | None:
        """Return the facts of the newest version; None if there is none."""
        versions = self.versions.get(kind, ())
        return versions[-1] if versions else None


def read_attachments(folder: Path) -> Attachments:
    """Return the published attachments of an institution's folder."""
    restore(folder)
    if not (folder / MANIFEST).is_file():
        return Attachments()
    manifest = read_manifest(folder)
    versions = {kind: tuple(manifest[kind]) for kind in KINDS if manifest.get(kind)}
    names = [version["file"] for each in versions.values() for version in each]
    return Attachments(versions, {name: (folder / name).read_bytes() for name in names})


def add_version(
    before: Attachments, folder: Path, kind: str, rows: pa.Table, **facts: Any
) -> Attachments:
    """Return the attachments with `rows` as the newest version of `kind`, unless they are that.

    Args:
        before: The attachments so far.
        folder: The institution's folder; a scratch folder beside it is used.
        kind: One of `KINDS`.
        rows: Content of the file, with the columns of its outbound contract.
        facts: Further facts of the version.
    """
    contract = load_outbound(KINDS[kind])
    own = rows.select(contract.schema.names).cast(contract.schema)
    versions = before.versions.get(kind, ())
    if versions:
        newest = versions[-1]
        if newest["sha256"] == _write_csv(folder, own, newest["schema_version"]).digest:
            return before
    content = _write_csv(folder, own, contract.schema_version)
    number = len(versions) + 1
    name = f"{KINDS[kind]}.csv" if number == 1 else f"{KINDS[kind]}.v{number}.csv"
    version = {
        "version": number,
        "file": name,
        "rows": rows.num_rows,
        "sha256": content.digest,
        "schema_version": contract.schema_version,
    } | facts
    return Attachments(
        {**before.versions, kind: (*versions, version)}, {**before.content, name: content.data}
    )


def load_transports(settings: Settings, day: date) -> dict[str, str]:
    """Return institution -> its transport (folder, sftp) by the catalogue of `day`."""
    path = settings.day_folder(settings.marts, day) / "products.parquet"
    if not path.is_file():
        return {}
    rows = pq.read_table(path, columns=["institution_id", "delivery"], partitioning=None)
    return {row["institution_id"]: row["delivery"] for row in rows.to_pylist() if row["delivery"]}


def publish_attachments(
    day: date, folder: Path, attachments: Attachments, transports: Mapping[str, str]
) -> None:
    """Publish an institution's folder again with `attachments`, unless it has just these.

    Args:
        day: The business date.
        folder: The institution's folder in the outbox.
        attachments: All that the folder has.
        transports: See `load_transports`; for a folder that has no lead file.
    """
    if read_attachments(folder) == attachments:
        return
    stated = {kind: list(versions) for kind, versions in attachments.versions.items()}
    with publishing(folder, _read_facts(day, folder, transports) | stated) as fresh:
        for file in sorted(folder.glob("*")) if folder.is_dir() else ():
            if file.name != MANIFEST:
                shutil.copyfile(file, fresh / file.name)
        for name, content in attachments.content.items():
            (fresh / name).write_bytes(content)


@dataclass(frozen=True)
class _Written:
    data: bytes
    digest: str


def _write_csv(folder: Path, rows: pa.Table, schema_version: int) -> _Written:
    """Return `rows` as a CSV in the form of a version of its contract."""
    scratch = folder.with_name(f".{folder.name}.attachment")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        file = scratch / "rows.csv"
        stated = schema_version if schema_version >= VERSION_STATED_SINCE else None
        lead_file.write(rows, file, schema_version=stated)
        return _Written(file.read_bytes(), sha256(file))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read_facts(day: date, folder: Path, transports: Mapping[str, str]) -> Facts:
    """Return the facts of the delivery's manifest; of one without leads where there is none."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        return {name: fact for name, fact in manifest.items() if name not in WRITTEN_FACTS}
    return {
        "delivery_id": name_delivery(day, folder.name),
        "schema_version": load_outbound("delivery_manifest").schema_version,
        "institution_id": folder.name,
        "date": f"{day}",
        "format": "csv",
        "delivery": transports.get(folder.name, FOLDER),
        "columns": [],
        "withheld_fields": [],
        "inputs": {},
        "version": 0,
        "rows": 0,
        "deliveries": [],
        "state": NOTHING,
        "message": describe_nothing(day),
        "retracted": [],
        "held_back": 0,
        "held_reasons": {},
        "findings": [],
    }
