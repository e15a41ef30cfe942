"""Read the files of one feed in a shard: tables of text, rejected records, rejected files.

Small files are buffered and parsed together, so a file of a few rows costs little more than
opening it. Large files are read in chunks, so memory does not grow with the size of a file.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.arrays import BoolArray
from pipelines.core.errors import FileRejected
from pipelines.ingest.misplaced import HEADER_NOTE, find_feed
from pipelines.ingest.plan import Task
from pipelines.ingest.reading.column_names import check_misspelt, list_optional
from pipelines.ingest.reading.files import read_text_chunks
from pipelines.ingest.reading.record_splitter import RecordSplitter
from pipelines.ingest.reading.records import RecordBuffer, Records, RejectedRecord
from pipelines.ingest.reading.restricting_names import sort_by_meaning
from pipelines.ingest.reading.text_formats import (
    Header,
    count_parquet_rows,
    parse_header,
    read_csv_records,
    read_json_records,
    read_parquet_rows,
)
from pipelines.ingest.reading.text_table import query_rows, text_schema

BATCH_ROWS, BATCH_BYTES = 100_000, 32_000_000
"""Rows or bytes that are parsed and validated together."""
MAX_BUFFERED_BYTES = 4 * BATCH_BYTES
"""Bytes buffered under all headers together."""
BLANK = ', "\t;\u00a0\u3000'
"""Characters of a record without any value."""
MAX_UNKNOWN_COLUMNS = 100
"""Unknown columns of a source that are reported by name."""

BufferKey = Header | None
"""The records parsed together: CSV records under one header, or (None) JSON lines."""


@dataclass
class FeedReader:
    """Reads the files of `tasks`, and counts their rows."""

    connection: duckdb.DuckDBPyConnection
    contract: Contract
    landing: Path
    tasks: tuple[Task, ...]
    received: list[int] = field(default_factory=list)
    """Data rows of each task, as far as the file could be read, without the blank ones."""
    blank: list[int] = field(default_factory=list)
    """Rows of each task without any value, such as the used range of a spreadsheet; passed over."""
    rejected_files: dict[int, FileRejected] = field(default_factory=dict)
    rejected: list[tuple[int, RejectedRecord]] = field(default_factory=list)
    """Records that cannot be read, with their task; the caller of `read_tables` clears it."""
    unknown: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Columns outside the contract, by task."""
    unterminated: dict[int, int] = field(default_factory=dict)
    """Last line of a task where it may be cut: a CSV without a last line end."""
    last_lines: dict[int, int] = field(default_factory=dict)
    """Last line of a task that has no line end; the file is cut if it can't be read."""
    headers: dict[int, Header | None] = field(default_factory=dict)
    """Header of a task that is text; None: its lines are JSON."""
    _sent_keys: dict[int, set[str]] = field(default_factory=dict)
    """Optional columns that restrict and are filled in a file of JSON lines, by task."""
    _buffers: dict[BufferKey, RecordBuffer] = field(
        default_factory=lambda: defaultdict(RecordBuffer)
    )

    def __post_init__(self) -> None:
        self.received = [0] * len(self.tasks)
        self.blank = [0] * len(self.tasks)

    def read_tables(self) -> Iterator[pa.Table]:
        """Yield all rows as text, in tables of about `BATCH_ROWS`, across files.

        The reader keeps no reference to a yielded table: a batch is most of a shard's memory.
        """
        pending: list[pa.Table] = []
        for table in self._read_files():
            pending.append(self._pass_over_blank_rows(table))
            del table
            if _is_batch(pending):
                yield pa.concat_tables(_pop_all(pending))
        if pending or self.rejected:
            yield pa.concat_tables([text_schema(self.contract).empty_table(), *_pop_all(pending)])

    def _read_files(self) -> Iterator[pa.Table]:
        for index in range(len(self.tasks)):
            try:
                yield from self._read_file(index)
            except FileRejected as error:
                self._reject(index, error)
        for key in list(self._buffers):
            yield self._parse_buffer(key)
        self._reject_misspelt_keys()

    def _reject_misspelt_keys(self) -> None:
        """Reject the files of JSON lines that misspell an optional key that restricts."""
        for index, unknown in self.unknown.items():
            if index not in self.rejected_files and index in self._sent_keys:
                try:
                    check_misspelt(self.contract, unknown, self._sent_keys[index])
                except FileRejected as error:
                    self._reject(index, error)

    def _reject(self, index: int, error: FileRejected) -> None:
        """Reject a file; one whose header is wrong may be a file of another feed."""
        read_from = self.tasks[index].read_from
        if error.rule == "header" and read_from:
            feed = find_feed(self.landing / read_from)
            if feed and feed != self.contract.feed:
                error = FileRejected(error.rule, f"{error}; {HEADER_NOTE}{feed}")
        self.rejected_files[index] = error

    def _read_file(self, index: int) -> Iterator[pa.Table]:
        task = self.tasks[index]
        if task.entry.state == "rejected":
            raise FileRejected("name", task.entry.note)
        if not task.read_from:
            raise FileRejected(
                "overwritten",
                "its content is lost: the file was overwritten or removed before it was read",
            )
        path = self.landing / task.read_from
        if path.suffix == ".parquet":
            yield from self._read_parquet(index, path)
        else:
            yield from self._read_text(index, path)

    def _read_parquet(self, index: int, path: Path) -> Iterator[pa.Table]:
        try:
            digest = self.tasks[index].expected_sha256
            for table in read_parquet_rows(self.connection, self.contract, path, digest, index):
                self.received[index] += table.num_rows
                self._add_unknown(table)
                yield table
        except FileRejected:
            self.received[index] = count_parquet_rows(path)
            raise

    def _read_text(self, index: int, path: Path) -> Iterator[pa.Table]:
        is_csv = path.name.endswith((".csv", ".csv.gz"))
        chunks = read_text_chunks(path, self.tasks[index].expected_sha256)
        key: BufferKey = None
        has_header = not is_csv
        if not is_csv:
            self.headers[index] = None
        splitter = RecordSplitter(quoted=is_csv)
        for records in splitter.split(chunks):
            rows = records
            if splitter.unterminated_line is not None:
                self.unterminated[index] = splitter.unterminated_line
            if splitter.unended_line is not None:
                self.last_lines[index] = splitter.unended_line
            if not has_header and (len(records) or records.rejected):
                key, has_header = self._read_header(index, records), True
                rows = records.without_header()
            self.received[index] += len(rows) + len(rows.rejected)
            self.rejected += [(index, record) for record in rows.rejected]
            if index not in self.rejected_files:
                yield from self._buffer(key, index, rows)
        if not has_header or not (is_csv or self.received[index]):
            raise FileRejected(
                "empty", "it is empty; where there are no rows, leave it out or send a CSV header"
            )

    def _read_header(self, index: int, records: Records) -> BufferKey:
        """Return the header; if it is invalid, the rest of the file is read only to count rows."""
        try:
            header = parse_header(self.contract, records.header())
        except FileRejected as error:
            self._reject(index, error)
            return None
        self.headers[index] = header
        self.unknown[index].update(set(header) - set(self.contract.names))
        return header

    def _buffer(self, key: BufferKey, index: int, records: Records) -> Iterator[pa.Table]:
        """Buffer `records`; yield the buffers that are full."""
        if not len(records):
            return
        self._buffers[key].add(index, records)
        if self._buffers[key].is_full(BATCH_ROWS, BATCH_BYTES):
            yield self._parse_buffer(key)
        elif sum(buffer.size for buffer in self._buffers.values()) >= MAX_BUFFERED_BYTES:
            for other in list(self._buffers):
                yield self._parse_buffer(other)

    def _parse_buffer(self, key: BufferKey) -> pa.Table:
        buffer = self._buffers.pop(key)
        if key is None:
            table, rejected = read_json_records(self.connection, self.contract, buffer)
            self._add_unknown(table)
            self._add_sent_keys(table)
        else:
            table, rejected = read_csv_records(self.connection, self.contract, key, buffer)
        for index, record in rejected:
            if record.rule == "fields" and not record.received.strip(BLANK):
                self._count_blank(index, 1)
            else:
                self.rejected.append((index, record))
        return table

    def _pass_over_blank_rows(self, table: pa.Table) -> pa.Table:
        """Return `table` without the rows that have no value."""
        is_blank = _find_blank_rows(self.contract, table)
        if not is_blank.any():
            return table
        blank = np.bincount(table["task"].to_numpy()[is_blank])
        for index in np.flatnonzero(blank).tolist():
            self._count_blank(index, int(blank[index]))
        return table.filter(pa.array(~is_blank))

    def _count_blank(self, index: int, rows: int) -> None:
        self.blank[index] += rows
        self.received[index] -= rows

    def _add_unknown(self, table: pa.Table) -> None:
        with_extras = table.select(["task", "extras"]).filter(pc.is_valid(table["extras"]))
        if not with_extras.num_rows:
            return
        for task, keys in _list_keys(self.connection, with_extras):
            names = sort_by_meaning(self.contract.feed, self.unknown[task].union(keys))
            self.unknown[task] = set(names[:MAX_UNKNOWN_COLUMNS])

    def _add_sent_keys(self, table: pa.Table) -> None:
        """Record which optional columns that restrict the files of a table of JSON lines fill."""
        for index in pc.unique(table["task"]).to_pylist():
            self._sent_keys.setdefault(index, set())
        for name in list_optional(self.contract):
            filled = table["task"].filter(pc.is_valid(table[name]))
            for index in pc.unique(filled).to_pylist():
                self._sent_keys[index].add(name)


def _find_blank_rows(contract: Contract, table: pa.Table) -> BoolArray:
    """Return of each row whether it has no value; most tables end at the first column."""
    is_blank: BoolArray = np.ones(table.num_rows, bool)
    for name in (*contract.required, *contract.names, "extras"):
        if not is_blank.any():
            break
        value = pc.fill_null(pc.utf8_trim_whitespace(table[name]), "")
        is_blank &= pc.equal(value, "").to_numpy()
    return is_blank


def _is_batch(tables: list[pa.Table]) -> bool:
    rows = sum(table.num_rows for table in tables)
    size: int = sum(table.nbytes for table in tables)
    return rows >= BATCH_ROWS or size >= 2 * BATCH_BYTES


def _pop_all(tables: list[pa.Table]) -> list[pa.Table]:
    """Return the items of `tables` and empty it."""
    items = tables[:]
    tables.clear()
    return items


def _list_keys(
    connection: duckdb.DuckDBPyConnection, with_extras: pa.Table
) -> list[tuple[int, list[str]]]:
    """Return the keys of `extras` in each file, by name."""
    sql = """
        select task, list(key order by key) as keys
        from (select distinct task, unnest(json_keys(extras)) as key from received)
        group by task
    """
    keys = query_rows(connection, sql, with_extras)
    return list(zip(keys["task"].to_pylist(), keys["keys"].to_pylist(), strict=True))
