"""Receipts of outcome files: each institution learns which lines counted and why others didn't."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.data_provenance import read_history
from pipelines.core.database import connect, query_table
from pipelines.core.settings import Settings
from pipelines.deliveries.attachments import (
    Attachments,
    add_version,
    load_transports,
    publish_attachments,
    read_attachments,
)
from pipelines.deliveries.unread_rows import load_ledger_files, register_file, register_unread

SQL = Path(__file__).parent / "sql"
FEED = "outcomes"

JUDGED = pa.schema(
    [
        ("institution_id", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)


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
    with connect(settings) as connection:
        register_file(connection, "judged", marts, JUDGED)
        register_unread(connection, settings, day, FEED)
        files = load_ledger_files(settings, day, FEED)
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


def _find_history(settings: Settings, files: pa.Table) -> pa.Table:
    """Return the paths of registered history among `files`."""
    history = read_history(settings)
    paths = [row["path"] for row in files.to_pylist() if (row["source"], row["sha256"]) in history]
    return pa.table({"path": pa.array(paths, pa.string())})
