"""Orders and withdrawals that landed and no run has read yet: what is known up to the minute.

A run reads the files of a date once. A person may object between then and the moment at which a
lead file leaves. So the gate reads the files of leads and orders that the ledger doesn't know, or
that have changed since. It reads them more strictly than ingest: what it can't read closes.

What was found is recorded beside the ledger, so that a replay of the day finds the same.
"""

import csv
import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.database import query_table
from pipelines.core.home.erasures import ChangedLanding, read_changed_landings
from pipelines.core.home.schema_version import REPLAY
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.publishing import sha256, write_parquet
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"

FOLDER = "landed_since"
"""Folder of the records below the ledger."""
MAX_DAYS_BEHIND = 3
"""A delivery of a date that is no older is sent now, so everything that has landed until now
counts; of an older date, what landed in its folders."""
FORMATS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
COLUMNS = {
    "suppressions": ("subject_type", "subject", "institution_id", "effective_at"),
    "leads": ("lead_id", "consent_scope", "consent_withdrawn_at", "consent_by_role"),
}
REQUIRED = {"suppressions": {"subject_type", "subject"}, "leads": {"lead_id"}}
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("channel_id", "lead_id", "institution_id", "reason")]
)


@dataclass(frozen=True)
class _LandedFile:
    path: Path
    source: str


def load_landed_since(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, as_of: date
) -> None:
    """Create `gate.landed_since`: leads of the claims that unread files close, with the reason."""
    if (settings.ledger / REPLAY).is_file():
        table = _read_records(settings, day)
    else:
        table = _find_closed_leads(connection, settings, as_of)
        _record(settings, day, table)
    connection.register("closed_leads", table)
    connection.execute("create or replace table gate.landed_since as from closed_leads")
    connection.unregister("closed_leads")


def record_folder(settings: Settings, day: date) -> Path:
    """Return where what was found for the deliveries of `day` is recorded."""
    return settings.day_folder(settings.ledger / FOLDER, day)


def _read_records(settings: Settings, day: date) -> pa.Table:
    files = sorted(record_folder(settings, day).glob("*.parquet"))
    return pa.concat_tables(
        [SCHEMA.empty_table(), *(pq.read_table(file, partitioning=None) for file in files)]
    )


def _record(settings: Settings, day: date, table: pa.Table) -> None:
    if not table.num_rows:
        return
    rows = "\n".join(map(str, table.to_pylist()))
    file = (
        record_folder(settings, day) / f"{hashlib.sha256(rows.encode()).hexdigest()[:16]}.parquet"
    )
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.new")
        write_parquet(table, fresh)
        fresh.replace(file)


def _find_closed_leads(
    connection: duckdb.DuckDBPyConnection, settings: Settings, as_of: date
) -> pa.Table:
    now = datetime.now(UTC)
    today = now.astimezone(ZoneInfo(settings.time_zone)).date()
    is_live = timedelta(0) <= today - as_of <= timedelta(days=MAX_DAYS_BEHIND)
    until = today if is_live else as_of
    known_end = now if is_live else settings.day_start(as_of + timedelta(days=1))
    unread = {feed: list(_list_unread_files(settings, feed, until)) for feed in COLUMNS}
    if not any(unread.values()):
        return SCHEMA.empty_table()
    unreadable: dict[str, list[str]] = {feed: [] for feed in COLUMNS}
    for feed, columns in COLUMNS.items():
        tables = []
        for file in unread[feed]:
            try:
                tables.append(_read_file(connection, feed, file))
            except (duckdb.Error, OSError, EOFError, ValueError, csv.Error):
                unreadable[feed].append(file.source)
        schema = pa.schema([(name, pa.string()) for name in (*columns, "source")])
        connection.register(f"landed_{feed}", pa.concat_tables([schema.empty_table(), *tables]))
    create_keyed_hash_macro(connection, load_identifier_key(settings))
    parameters = {
        "known_end": known_end,
        "has_unreadable_orders": bool(unreadable["suppressions"]),
        "unreadable_channels": unreadable["leads"],
    }
    return query_table(connection, SQL / "landed_since.sql", parameters).cast(SCHEMA)


def _list_unread_files(settings: Settings, feed: str, until: date) -> Iterator[_LandedFile]:
    """Yield the finished files of a feed that the ledger doesn't know as they are now."""
    known: dict[str, tuple[int, str, float]] | None = None
    changed = read_changed_landings(settings.home)
    for path in sorted((settings.landing / feed).glob("*/*/*")):
        if path.name.startswith(".") or not path.name.endswith(FORMATS) or not path.is_file():
            continue
        if not f"{path.parent.name}" <= f"{until}":
            continue
        if known is None:
            known = _read_known_files(settings, feed)
        # bytes that are no UTF-8 are escaped as the ledger escapes them
        relative = path.relative_to(settings.landing).as_posix()
        name = os.fsencode(relative).decode("utf-8", "backslashreplace")
        if not _is_known(path, known.get(name)) and not _is_erased(path, changed.get(name)):
            yield _LandedFile(path, path.parts[-3])


def _is_known(path: Path, entry: tuple[int, str, float] | None) -> bool:
    """Return whether the ledger has the file with its present content."""
    if entry is None:
        return False
    size, digest, recorded = entry
    stat = path.stat()
    return stat.st_size == size and (stat.st_mtime <= recorded or sha256(path) == digest)


def _is_erased(path: Path, changed: ChangedLanding | None) -> bool:
    """Return whether only an erasure changed the file since the ledger has it."""
    return changed is not None and sha256(path) == changed.present


def _read_known_files(settings: Settings, feed: str) -> dict[str, tuple[int, str, float]]:
    """Return path -> size, hash and time of record of the newest version that the ledger has."""
    mark = f'"feed": "{feed}"'
    known: dict[str, tuple[int, int, str, float]] = {}
    for file in sorted(settings.ledger.glob("date=*.jsonl")):
        recorded = file.stat().st_mtime
        for line in file.read_text("utf-8").splitlines():
            if mark not in line:
                continue
            entry = json.loads(line)
            before = known.get(entry["path"])
            if before is None or before[0] <= entry["version"]:
                known[entry["path"]] = (
                    entry["version"],
                    entry["bytes"],
                    entry["sha256"],
                    recorded,
                )
    return {path: entry[1:] for path, entry in known.items()}


def _read_file(connection: duckdb.DuckDBPyConnection, feed: str, file: _LandedFile) -> pa.Table:
    """Return the columns of a file that restrict, as text.

    Raises:
        ValueError: A column without which no row can be read is missing.
    """
    source, names = _open_source(connection, file.path)
    found = {name.strip().lower(): name for name in names}
    if missing := REQUIRED[feed] - found.keys():
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    cells = [
        f'cast("{found[name]}" as varchar) as {name}'
        if name in found
        else f"cast(null as varchar) as {name}"
        for name in COLUMNS[feed]
    ]
    return connection.sql(
        f"select {', '.join(cells)}, '{file.source}' as source from {source}"
    ).to_arrow_table()


def _open_source(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, list[str]]:
    """Return the table function that reads a file as text, and the names of its columns."""
    place = "'" + str(path).replace("'", "''") + "'"
    if path.suffix == ".parquet":
        source = f"read_parquet({place}, hive_partitioning = false)"
        return source, connection.sql(f"from {source}").columns
    with path.open("rb") as raw:
        data = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        first = io.BytesIO(data.readline(1_000_000)).getvalue().decode("utf-8-sig")
    if ".jsonl" in path.suffixes:
        names = sorted({*COLUMNS["leads"], *COLUMNS["suppressions"]})
        columns = ", ".join(f"{name}: 'varchar'" for name in names)
        options = f"columns = {{{columns}}}, format = 'newline_delimited'"
        return f"read_json({place}, {options})", names
    delimiter = max((",", ";", "\t"), key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    columns = ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}': 'varchar'" for name in names)
    source = (
        f"read_csv({place}, columns = {{{columns}}}, auto_detect = false, header = true, "
        f"delim = '{delimiter}', quote = '\"', escape = '\"', nullstr = '', strict_mode = true)"
    )
    return source, names
