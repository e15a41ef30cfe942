"""Records of text files: their bytes, their lines, and the records that cannot be read."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.arrays import IntArray
from pipelines.core.errors import FileRejected


@dataclass(frozen=True)
class RejectedRecord:
    """One record that cannot be read."""

    line: int
    rule: str
    message: str
    received: str


@dataclass
class Records:
    """Whole records of one file, one after the other, each with its line end."""

    data: bytes
    offsets: IntArray
    """Start of each record in `data`, then the end of the last one: n + 1."""
    lines: IntArray
    """The physical line of the file on which each record begins, from 1: n."""
    rejected: list[RejectedRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def record(self, index: int) -> bytes:
        """Return the bytes of one record, with its line end."""
        return self.data[self.offsets[index] : self.offsets[index + 1]]

    def header(self) -> bytes:
        """Return the first record.

        Raises:
            FileRejected: It is a rejected one.
        """
        if self._is_header_rejected():
            message = self.rejected[0].message
            raise FileRejected("header", f"the header cannot be read: {message}")
        return self.record(0)

    def without_header(self) -> "Records":
        """Return the records after the first one, be that rejected or not."""
        if self._is_header_rejected():
            return Records(self.data, self.offsets, self.lines, self.rejected[1:])
        start = int(self.offsets[1])
        return Records(self.data[start:], self.offsets[1:] - start, self.lines[1:], self.rejected)

    def _is_header_rejected(self) -> bool:
        if not self.rejected:
            return False
        return not len(self) or bool(self.lines[0] > self.rejected[0].line)


@dataclass
class RecordBuffer:
    """Records of one or many files under one header, collected so that they are parsed at once."""

    parts: list[tuple[int, Records]] = field(default_factory=list)
    """Position of the file in the shard's list, and records of it."""
    rows: int = 0
    size: int = 0
    """Bytes of all records."""

    def add(self, file: int, records: Records) -> None:
        """Append the records of a file."""
        self.parts.append((file, records))
        self.rows += len(records)
        self.size += len(records.data)

    def is_full(self, rows: int, size: int) -> bool:
        """Return whether the buffer has at least `rows` records or `size` bytes."""
        return self.rows >= rows or self.size >= size

    def __len__(self) -> int:
        return self.rows

    @cached_property
    def data(self) -> bytes:
        """All records, one after the other; read only after the last `add`."""
        return b"".join(records.data for _, records in self.parts)

    @cached_property
    def offsets(self) -> IntArray:
        """Start of each record in `data`, then the end of the last one: rows + 1."""
        lengths = [np.diff(records.offsets) for _, records in self.parts]
        return np.concatenate(([0], np.cumsum(np.concatenate(lengths)))).astype(np.int64)

    def lineage(self) -> pa.Table:
        """Return `task`, `line` and `received` (the record without its line end) of each row."""
        counts = [len(records) for _, records in self.parts]
        files = np.repeat(np.array([file for file, _ in self.parts], np.int32), counts)
        lines = np.concatenate([records.lines for _, records in self.parts])
        received = pa.LargeStringArray.from_buffers(
            self.rows, pa.py_buffer(self.offsets), pa.py_buffer(self.data)
        )
        trimmed = pc.utf8_rtrim(received, characters="\r\n").cast(pa.string())
        return pa.table({"task": files, "line": lines.astype(np.int64), "received": trimmed})

    def reject(self, row: int, rule: str, message: str) -> tuple[int, RejectedRecord]:
        """Return the record at `row` as a rejected one, with the position of its file."""
        lengths = np.cumsum([len(records) for _, records in self.parts])
        part = int(np.searchsorted(lengths, row, side="right"))
        file, records = self.parts[part]
        index = row - (int(lengths[part - 1]) if part else 0)
        received = records.record(index).decode("utf-8").rstrip("\r\n")
        return file, RejectedRecord(int(records.lines[index]), rule, message, received)
