"""The answer key of what is dirty: it names each broken value, repeated row and damaged file."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from expectations.contracts import Contract, load
from pipelines.core.arrays import IntArray
from pipelines.simulate.corruption.file_corruptions import CSV, Damage

KEY = pa.schema(
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
"""`file`, `line`, `column`, `rule` and `severity` are those of quarantine, so null where a whole
row or a whole file is meant; severity `none` is what ingest repairs, and `rule` then says what.
`sent` is the broken value as text, null where none was sent."""


@dataclass(frozen=True)
class Sending:
    """One file that a source is about to send."""

    feed: str
    source: str
    day: date
    name: str
    form: str

    @property
    def contract(self) -> Contract:
        """What the file should keep."""
        return load(self.feed)

    @property
    def folder(self) -> str:
        """Where it is put below `landing/`."""
        return f"{self.feed}/{self.source}/{self.day}"

    @property
    def file(self) -> str:
        """Its path below `landing/`."""
        return f"{self.folder}/{self.name}.{self.form}"

    @property
    def address(self) -> int:
        """Where in the world it is, for its chances."""
        return int.from_bytes(hashlib.sha256(self.file.encode()).digest()[:7], "big")

    def lines(self, rows: IntArray) -> IntArray:
        """Return on which lines rows stand: rows from 0, lines from 1, and a CSV has a header."""
        return rows + (2 if self.form in CSV else 1)


def of_values(sending: Sending, rows: IntArray, way: pa.RecordBatch, sent: pa.Array) -> pa.Table:
    """Return the answers to broken values.

    Args:
        sending: The file.
        rows: In which of its rows each stands, from 0.
        way: How each is broken, see `flaws.as_columns`.
        sent: What stands there, as text.
    """
    line = pa.array(sending.lines(rows))
    columns = {name: way[name] for name in ("column", "rule", "severity")}
    return _answers(sending, sending.file, rows.size, columns | {"line": line, "sent": sent})


def of_repeats(sending: Sending, rows: IntArray) -> pa.Table:
    """Return the answers to rows that stand in the file a second time."""
    return _duplicates(sending, sending.file, rows)


def of_damage(sending: Sending, file: str, damage: Damage, rows: int) -> pa.Table:
    """Return the answers to a file with a damage.

    Args:
        sending: The sound file.
        file: The path of the damaged one below `landing/`; it may be the same.
        damage: What befell it.
        rows: How many rows it has; where one line alone is lost, it is the last of them, and the
            others are duplicates of rows in the sound file.
    """
    told = {"rule": damage.rule, "severity": damage.severity}
    if not damage.last_line:
        return _answers(sending, file, 1, told)
    last = _answers(
        sending, file, 1, told | {"line": pa.array(sending.lines(np.array([rows - 1])))}
    )
    return pa.concat_tables([_duplicates(sending, file, np.arange(rows - 1)), last])


def _duplicates(sending: Sending, file: str, rows: IntArray) -> pa.Table:
    told = {"line": pa.array(sending.lines(rows)), "rule": "duplicate", "severity": "info"}
    return _answers(sending, file, rows.size, told)


def _answers(sending: Sending, file: str, count: int, told: dict[str, Any]) -> pa.Table:
    """Return `count` answers; what is told is a column or the same for all, the rest is null."""
    same = {"feed": sending.feed, "source": sending.source, "file": file}
    values = {name: (same | told).get(name) for name in KEY.names}
    columns = [
        pa.repeat(pa.scalar(value, type_), count)
        if value is None or isinstance(value, str)
        else value
        for (name, value), type_ in zip(values.items(), KEY.types, strict=True)
    ]
    return pa.table(columns, schema=KEY)
