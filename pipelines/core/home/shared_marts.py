"""The marts that grow with history, stored once for all days.

A day's mart of outcomes has every outcome known so far. Stored whole, a year of days would hold
each outcome up to 365 times. So its rows are divided by the date on which they became known, each
part is a file below `marts/history/`, and the day's folder lists its files in `history.json`:

    marts/date=2026-03-05/history.json
        {"outcomes": [{"file": "2026-03-04/SHA256.parquet", "rows": 743}, ...], ...}
    marts/history/outcomes/2026-03-04/SHA256.parquet

A file is named by the hash of its bytes. Days with the same rows name the same file; a part that
later knowledge changes is a further file, and no file is ever replaced. So the files that a day
names are what that day knew, and no later run changes that. (The design is that of the snapshots of
Apache Iceberg: a list of immutable files.)
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.errors import InputMissing
from pipelines.core.home.schema_version import HISTORY
from pipelines.core.publishing import check_file, sha256, sync, write_json, write_parquet
from pipelines.core.stored_files import read_json

FOLDER = "history"
"""Folder of the shared files below `marts/`."""
PERIOD = "period"
"""First column of the rows that are stored: the name of the part that a row belongs to."""
NO_ROWS = "none"
"""Part of a mart without rows; its file has the columns."""


def write_shared_marts(folder: Path, tables: dict[str, pa.Table]) -> None:
    """Store the rows of `tables`, and list their files in `folder`.

    Args:
        folder: `marts/date=D`, or the folder beside it that becomes it.
        tables: Mart -> rows, sorted by `PERIOD`, their first column.
    """
    listed = {name: _store_parts(folder.parent / FOLDER / name, tables[name]) for name in tables}
    write_json(folder / HISTORY, listed)


def list_mart_files(marts: Path, name: str) -> list[str]:
    """Return the files that hold the mart `name` of the published `marts`, `marts/date=D`.

    A mart that does not grow, and every mart of a day of schema version 1, is one file.

    Raises:
        InputMissing: The day has no such mart.
        IntegrityError: The list is damaged.
    """
    whole = marts / f"{name}.parquet"
    if whole.is_file():
        return [str(whole)]
    entries = _read_list(marts).get(name)
    if not entries:
        raise InputMissing(
            f"{marts} has no mart {name}: the day was not published, or an earlier version made "
            "it. Nothing was done. Run the step `transform` for the date, then the steps after it."
        )
    return [str(marts.parent / FOLDER / name / entry["file"]) for entry in entries]


def read_mart(marts: Path, name: str) -> pa.Table:
    """Return the rows of one mart of the published `marts`."""
    return pa.concat_tables([pq.read_table(path) for path in list_mart_files(marts, name)])


def list_shared_files(marts: Path) -> list[Path]:
    """Return every shared file that the published `marts` names."""
    return [
        marts.parent / FOLDER / name / entry["file"]
        for name, entries in _read_list(marts).items()
        for entry in entries
    ]


def find_changed_files(marts: Path) -> Iterator[tuple[Path, str]]:
    """Yield the shared files of `marts` whose bytes are not the published ones, and how."""
    for path in list_shared_files(marts):
        if how := check_file(path, path.stem):
            yield path, how


def _read_list(marts: Path) -> dict[str, Any]:
    path = marts / HISTORY
    return read_json(path) if path.is_file() else {}


def _store_parts(folder: Path, rows: pa.Table) -> list[dict[str, Any]]:
    """Store each part of `rows` and return the entries that list them."""
    parts, start = [], 0
    for count in pc.value_counts(rows[PERIOD]).to_pylist():  # in the order of the rows
        part = rows.slice(start, count["counts"])
        parts.append((str(count["values"]), part))
        start += part.num_rows
    return [
        {"file": f"{period}/{_store(folder / period, part)}", "rows": part.num_rows}
        for period, part in parts or [(NO_ROWS, rows)]
    ]


def _store(folder: Path, part: pa.Table) -> str:
    """Store one part; return the name of its file.

    A file that is there already is left as it is. If it was damaged it is written again, with the
    bytes that its name states.
    """
    fresh = folder / ".new.parquet"
    write_parquet(part.drop_columns([PERIOD]), fresh)
    digest = sha256(fresh)
    stored = folder / f"{digest}.parquet"
    if stored.is_file() and not check_file(stored, digest):
        fresh.unlink()
    else:
        sync(fresh)
        fresh.rename(stored)
        sync(folder)
    return stored.name
