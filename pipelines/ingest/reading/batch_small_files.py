"""Records of many files, put together so that thousands of tiny files are parsed at once."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.arrays import IntArray
from pipelines.ingest.reading.records import Records, Rejected


@dataclass
class Together:
    """Records that are parsed alike, of one file or of many."""

    parts: list[tuple[int, Records]] = field(default_factory=list)
    """Position of the file in the shard's list, and records of it."""
    rows: int = 0
    size: int = 0
    """Bytes of all records."""

    def add(self, file: int, records: Records) -> None:
        """Put the records of a file at the end."""
        self.parts.append((file, records))
        self.rows += len(records)
        self.size += len(records.data)

    def is_batch(self, rows: int, size: int) -> bool:
        """Return whether there are as many rows, or bytes, as are parsed together."""
        return self.rows >= rows or self.size >= size

    def __len__(self) -> int:
        return self.rows

    @cached_property
    def data(self) -> bytes:
        """All records, one after the other; asked for once nothing more is added."""
        return b"".join(records.data for _, records in self.parts)

    @cached_property
    def offsets(self) -> IntArray:
        """Where each record begins in `data`, and where the last one ends: rows + 1."""
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

    def rejected(self, row: int, rule: str, message: str) -> tuple[int, Rejected]:
        """Return the record at `row` as one that cannot be read, with its file."""
        lengths = np.cumsum([len(records) for _, records in self.parts])
        part = int(np.searchsorted(lengths, row, side="right"))
        file, records = self.parts[part]
        index = row - (int(lengths[part - 1]) if part else 0)
        received = records.record(index).decode("utf-8").rstrip("\r\n")
        return file, Rejected(int(records.lines[index]), rule, message, received)
