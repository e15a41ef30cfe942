"""Receipts of outcome files: each institution learns which lines counted and why others didn't."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.data_provenance import read_history
from pipelines.core.database import connect, query_table
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries.attachments import (
    Attachments,
    add_version,
    load_transports,
    publish_attachments,
    read_attachments,
)
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE

SQL = Path(__file__).parent / "sql"

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


def list_institutions(settings: Settings, day: date) -> list[str]:
    """Return the institutions whose outcome files were taken in on `day`, sorted."""
    return sorted(set(_load_rows(settings, day, None)["institution_id"].to_pylist()))


def load_receipts(
    settings: Settings, day: date, institutions: Sequence[str]
) -> dict[str, Attachments]:
    """Return the published receipts, and other attachments, of each institution.

    A new lead file replaces the outbox folder, so they are read before and published again after.
    """
    outbox = settings.day_folder(settings.outbox, day)
    return {name: read_attachments(outbox / name) for name in institutions}


def publish_receipts(
    settings: Settings, day: date, institutions: Sequence[str], earlier: Mapping[str, Attachments]
) -> int:
    """Publish the receipt of each institution with outcome files; return their number.

    A receipt that differs from the newest one is a new version; the same one changes nothing. The
    other attachments are published again as they were.

    Args:
        settings: Where the home is.
        day: The business date on which the files were taken in.
        institutions: The institutions of the shard.
        earlier: Their attachments before this run, see `load_receipts`.
    """
    rows = _load_rows(settings, day, institutions)
    outbox = settings.day_folder(settings.outbox, day)
    transports = load_transports(settings, day)
    published = 0
    for name in institutions:
        own = rows.filter(pc.equal(rows["institution_id"], name))
        attachments = earlier.get(name, Attachments())
        if own.num_rows or attachments.newest("receipts"):
            attachments = add_version(attachments, outbox / name, "receipts", own)
            published += 1
        if attachments.versions:
            publish_attachments(day, outbox / name, attachments, transports)
    return published


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
