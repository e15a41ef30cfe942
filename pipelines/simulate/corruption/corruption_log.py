"""The corruption log: one row for each corrupted value, repeated row and corrupted file."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from expectations.contracts import Contract, load
from pipelines.core.arrays import IntArray
from pipelines.simulate.corruption.corruption_kinds import CSV, FileCorruption

LOG_SCHEMA = pa.schema(
    [
        ("feed", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("sent", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
    ]
)
"""`file`, `line`, `column`, `rule` and `severity` are as in quarantine: null where a whole row
or a whole file is corrupted. Severity `none` is what ingest repairs; `rule` then names the repair.
`sent` is the corrupted value as text, null where none was sent."""


@dataclass(frozen=True)
class FeedFile:
    """One file that a source sends."""

    feed: str
    source: str
    day: date
    name: str
    file_format: str

    @property
    def contract(self) -> Contract:
        """The contract of its feed."""
        return load(self.feed)

    @property
    def folder(self) -> str:
        """Its folder below `landing/`."""
        return f"{self.feed}/{self.source}/{self.day}"

    @property
    def path(self) -> str:
        """Its path below `landing/`."""
        return f"{self.folder}/{self.name}.{self.file_format}"

    @property
    def address(self) -> int:
        """Its address, for random numbers."""
        return int.from_bytes(hashlib.sha256(self.path.encode()).digest()[:7], "big")

    def lines(self, rows: IntArray) -> IntArray:
        """Return the lines of rows: rows count from 0, lines from 1, and a CSV has a header."""
        return rows + (2 if self.file_format in CSV else 1)


def log_values(file: FeedFile, rows: IntArray, kinds: pa.RecordBatch, sent: pa.Array) -> pa.Table:
    """Return the log of corrupted values.

    Args:
        file: The file.
        rows: The row of each value, from 0.
        kinds: The kind of each corruption, see `corruption_kinds.kinds_table`.
        sent: The corrupted values, as text.
    """
    line = pa.array(file.lines(rows))
    columns = {name: kinds[name] for name in ("column", "rule", "severity")}
    return _log(file, file.path, rows.size, columns | {"line": line, "sent": sent})


def log_repeated_rows(file: FeedFile, rows: IntArray) -> pa.Table:
    """Return the log of rows that are in the file a second time."""
    return _log_duplicates(file, file.path, rows)


def log_file(file: FeedFile, path: str, kind: FileCorruption, rows: int) -> pa.Table:
    """Return the log of a corrupted file.

    Args:
        file: The intact file.
        path: The path of the corrupted one below `landing/`; it may be the same.
        kind: Its corruption.
        rows: Its number of rows. Where only the last line is lost, the others are duplicates of
            rows in the intact file.
    """
    reason = {"rule": kind.rule, "severity": kind.severity}
    if not kind.last_line:
        return _log(file, path, 1, reason)
    last_line = pa.array(file.lines(np.array([rows - 1])))
    last = _log(file, path, 1, reason | {"line": last_line})
    return pa.concat_tables([_log_duplicates(file, path, np.arange(rows - 1)), last])


def _log_duplicates(file: FeedFile, path: str, rows: IntArray) -> pa.Table:
    lines = pa.array(file.lines(rows))
    return _log(file, path, rows.size, {"line": lines, "rule": "duplicate", "severity": "info"})


def _log(file: FeedFile, path: str, count: int, values: dict[str, Any]) -> pa.Table:
    """Return `count` rows; each value is a column or a constant, and other columns are null."""
    values = {"feed": file.feed, "source": file.source, "file": path} | values
    columns = []
    for name, kind in zip(LOG_SCHEMA.names, LOG_SCHEMA.types, strict=True):
        value = values.get(name)
        is_constant = value is None or isinstance(value, str)
        columns.append(pa.repeat(pa.scalar(value, kind), count) if is_constant else value)
    return pa.table(columns, schema=LOG_SCHEMA)
