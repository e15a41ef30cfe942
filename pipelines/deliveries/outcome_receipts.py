"""Receipts of outcome files: each institution learns which lines counted and why others didn't."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.outbound_contracts import load_outbound
from pipelines.core.data_provenance import read_history
from pipelines.core.database import connect, query_table
from pipelines.core.publishing import MANIFEST, publishing, read_manifest, restore, sha256
from pipelines.core.settings import Settings
from pipelines.deliveries import lead_file
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE

SQL = Path(__file__).parent / "sql"
CONTRACT = load_outbound("outcome_receipt")

WRITTEN_FACTS = ("files", "content_sha256", "code_version", "package_version")
"""Facts of a manifest that `publishing` states itself."""
JUDGED = pa.schema(
    [
        ("institution_id", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)
LEDGER_FILES = pa.schema([(name, pa.string()) for name in ("source", "path", "sha256", "state")])

Facts = dict[str, Any]


@dataclass(frozen=True)
class Receipts:
    """The receipts of one institution and day: facts of each version, and the bytes."""

    versions: tuple[Facts, ...] = ()
    """Each with version, file, rows, sha256 and schema_version; oldest first."""
    content: Mapping[str, bytes] | None = None
    """File name -> bytes."""


def list_institutions(settings: Settings, day: date) -> list[str]:
    """Return the institutions whose outcome files were taken in on `day`, sorted."""
    return sorted(set(_load_rows(settings, day, None)["institution_id"].to_pylist()))


def load_receipts(
    settings: Settings, day: date, institutions: Sequence[str]
) -> dict[str, Receipts]:
    """Return the published receipts of each institution that has some.

    A new lead file replaces the outbox folder, so they are read before and published again after.
    """
    outbox = settings.day_folder(settings.outbox, day)
    return {name: _read_receipts(outbox / name) for name in institutions}


def publish_receipts(
    settings: Settings, day: date, institutions: Sequence[str], earlier: Mapping[str, Receipts]
) -> int:
    """Publish the receipt of each institution with outcome files; return their number.

    A receipt that differs from the newest one is a new version; the same one changes nothing.

    Args:
        settings: Where the home is.
        day: The business date on which the files were taken in.
        institutions: The institutions of the shard.
        earlier: Their receipts before this run, see `load_receipts`.
    """
    rows = _load_rows(settings, day, institutions)
    outbox = settings.day_folder(settings.outbox, day)
    published = 0
    for name in institutions:
        own = rows.filter(pc.equal(rows["institution_id"], name)).select(CONTRACT.schema.names)
        before = earlier.get(name, Receipts())
        if own.num_rows or before.versions:
            _publish(day, outbox / name, own.cast(CONTRACT.schema), before)
            published += 1
    return published


def _publish(day: date, folder: Path, rows: pa.Table, before: Receipts) -> None:
    scratch = folder.with_name(f".{folder.name}.receipt")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        written = scratch / "outcome_receipt.csv"
        lead_file.write(rows, written)
        receipts = _add_version(before, written, rows.num_rows)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if _read_receipts(folder) == receipts:
        return
    facts = _read_facts(day, folder) | {"receipts": list(receipts.versions)}
    with publishing(folder, facts) as fresh:
        for file in sorted(folder.glob("*")) if folder.is_dir() else ():
            if file.name != MANIFEST:
                shutil.copyfile(file, fresh / file.name)
        for name, content in (receipts.content or {}).items():
            (fresh / name).write_bytes(content)


def _add_version(before: Receipts, written: Path, rows: int) -> Receipts:
    """Return the receipts with the one `written`, unless it is the newest already."""
    digest = sha256(written)
    if before.versions and before.versions[-1]["sha256"] == digest:
        return before
    number = len(before.versions) + 1
    name = written.name if number == 1 else f"outcome_receipt.v{number}.csv"
    version = {
        "version": number,
        "file": name,
        "rows": rows,
        "sha256": digest,
        "schema_version": CONTRACT.schema_version,
    }
    content = {**(before.content or {}), name: written.read_bytes()}
    return Receipts((*before.versions, version), content)


def _read_receipts(folder: Path) -> Receipts:
    restore(folder)
    if not (folder / MANIFEST).is_file():
        return Receipts()
    versions = tuple(read_manifest(folder).get("receipts", []))
    content = {version["file"]: (folder / version["file"]).read_bytes() for version in versions}
    return Receipts(versions, content or None)


def _read_facts(day: date, folder: Path) -> Facts:
    """Return the facts of the delivery's manifest; of one without leads where there is none."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        return {name: fact for name, fact in manifest.items() if name not in WRITTEN_FACTS}
    return {
        "institution_id": folder.name,
        "date": f"{day}",
        "format": "csv",
        "delivery": "folder",
        "columns": [],
        "withheld_fields": [],
        "inputs": {},
        "version": 0,
        "rows": 0,
        "deliveries": [],
    }


def _load_rows(settings: Settings, day: date, institutions: Sequence[str] | None) -> pa.Table:
    """Return the rows of all receipts, of `institutions` only if any are given."""
    marts = settings.day_folder(settings.marts, day) / "outcome_receipts.parquet"
    quarantine = settings.day_folder(settings.quarantine / "outcomes", day) / "quarantine.parquet"
    with connect(settings) as connection:
        _register(connection, "judged", marts, JUDGED)
        _register(connection, "quarantined", quarantine, QUARANTINE)
        files = _load_ledger_files(settings, day)
        connection.register("ledger_files", files)
        connection.register("history_files", _find_history(settings, files))
        names = institutions
        if names is None:
            names = [
                name
                for (name,) in connection.execute(
                    "select institution_id from judged union select source from quarantined "
                    "union select source from ledger_files order by all"
                ).fetchall()
            ]
        return query_table(connection, SQL / "outcome_receipts.sql", {"names": list(names)})


def _register(
    connection: duckdb.DuckDBPyConnection, name: str, path: Path, schema: pa.Schema
) -> None:
    """Create the view `name` of a Parquet file, empty where an earlier version wrote none."""
    if path.is_file():
        connection.read_parquet(str(path), hive_partitioning=False).create_view(name)
    else:
        connection.register(name, schema.empty_table())


def _load_ledger_files(settings: Settings, day: date) -> pa.Table:
    folder = settings.day_folder(settings.lake / "outcomes", day)
    entries = read_manifest(folder).get("ledger", []) if (folder / MANIFEST).is_file() else []
    rows = [{name: entry[name] for name in LEDGER_FILES.names} for entry in entries]
    return pa.Table.from_pylist(rows, LEDGER_FILES)


def _find_history(settings: Settings, files: pa.Table) -> pa.Table:
    """Return the paths of registered history among `files`."""
    history = read_history(settings)
    paths = [row["path"] for row in files.to_pylist() if (row["source"], row["sha256"]) in history]
    return pa.table({"path": pa.array(paths, pa.string())})
