"""What of a partner's files was not loaded on a day: the partner is answered line by line."""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.core.database import query_table
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE

SQL = Path(__file__).parent / "sql"

LEDGER_FILES = pa.schema([(name, pa.string()) for name in ("source", "path", "sha256", "state")])


def register_unread(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, feed: str
) -> None:
    """Create the views `quarantined`, `ledger_files` and `unread` of one feed and day.

    `quarantined` has the columns of the quarantine, `ledger_files` is as in `LEDGER_FILES`,
    `unread` a row per line or file that was not loaded: institution_id, path, line, reason.
    """
    quarantine = settings.day_folder(settings.quarantine / feed, day) / "quarantine.parquet"
    register_file(connection, "quarantined", quarantine, QUARANTINE)
    connection.register("ledger_files", load_ledger_files(settings, day, feed))
    connection.register("unread", query_table(connection, SQL / "unread_rows.sql"))


def load_ledger_files(settings: Settings, day: date, feed: str) -> pa.Table:
    """Return the files of a feed that were known on `day`, see `LEDGER_FILES`."""
    folder = settings.day_folder(settings.lake / feed, day)
    entries = read_manifest(folder).get("ledger", []) if (folder / MANIFEST).is_file() else []
    rows = [{name: entry[name] for name in LEDGER_FILES.names} for entry in entries]
    return pa.Table.from_pylist(rows, LEDGER_FILES)


def register_file(
    connection: duckdb.DuckDBPyConnection, name: str, path: Path, schema: pa.Schema
) -> None:
    """Create the view `name` of a Parquet file, empty where an earlier version wrote none."""
    if path.is_file():
        connection.read_parquet(str(path), hive_partitioning=False).create_view(name)
    else:
        connection.register(name, schema.empty_table())
