"""Read the files of one feed in a shard: tables of text, and what could not be read.

Small files are put together before they are parsed, so a file of a few rows costs its opening and
little more; big files are read in chunks, so memory doesn't grow with a file.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected
from pipelines.ingest.plan_file import Task
from pipelines.ingest.reading.batch_small_files import Together
from pipelines.ingest.reading.csv_text import Header, csv_texts, header_of
from pipelines.ingest.reading.files import text_chunks
from pipelines.ingest.reading.jsonl_text import jsonl_texts
from pipelines.ingest.reading.parquet_text import parquet_texts, rows_of
from pipelines.ingest.reading.record_splitter import Cutter
from pipelines.ingest.reading.records import Records, Rejected
from pipelines.ingest.reading.text_table import query, text_schema

BATCH_ROWS, BATCH_BYTES = 100_000, 32_000_000
"""Rows or bytes that are parsed and judged together."""
MOST_WAITING = 4 * BATCH_BYTES
"""Bytes that wait to be put together, under whatever many headers."""
MOST_UNKNOWN = 100
"""Unknown columns of a source that are reported by name."""

Group = Header | None
"""Records parsed alike: CSV rows under one header, or (None) JSON lines."""


@dataclass
class Intake:
    """Reads `tasks`, and keeps the tallies of what it read."""

    connection: duckdb.DuckDBPyConnection
    contract: Contract
    landing: Path
    tasks: tuple[Task, ...]
    received: list[int] = field(default_factory=list)
    """Data rows of each task, as far as the file could be read."""
    refused: dict[int, FileRejected] = field(default_factory=dict)
    rejected: list[tuple[int, Rejected]] = field(default_factory=list)
    """Records that cannot be read, with their task; the reader of `texts` empties it."""
    unknown: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    _together: dict[Group, Together] = field(default_factory=lambda: defaultdict(Together))

    def __post_init__(self) -> None:
        self.received = [0] * len(self.tasks)

    def texts(self) -> Iterator[pa.Table]:
        """Yield all rows as text, in tables of about `BATCH_ROWS`, whatever files they are of.

        A table that was yielded is held here no longer: a batch is most of a shard's memory.
        """
        waiting: list[pa.Table] = []
        for table in self._tables():
            waiting.append(table)
            del table
            if _is_batch(waiting):
                yield pa.concat_tables(_emptied(waiting))
        if waiting or self.rejected:
            yield pa.concat_tables([text_schema(self.contract).empty_table(), *_emptied(waiting)])

    def _tables(self) -> Iterator[pa.Table]:
        for index in range(len(self.tasks)):
            try:
                yield from self._read(index)
            except FileRejected as refusal:
                self.refused[index] = refusal
        for group in list(self._together):
            yield self._parsed(group)

    def _read(self, index: int) -> Iterator[pa.Table]:
        task = self.tasks[index]
        if task.entry.state == "refused":
            raise FileRejected("name", task.entry.note)
        if not task.read_from:
            raise FileRejected(
                "overwritten",
                "its content has gone: the file was overwritten or removed before it was read",
            )
        path = self.landing / task.read_from
        if path.suffix == ".parquet":
            yield from self._read_parquet(index, path)
        else:
            yield from self._read_text(index, path)

    def _read_parquet(self, index: int, path: Path) -> Iterator[pa.Table]:
        try:
            digest = self.tasks[index].entry.sha256
            for table in parquet_texts(self.connection, self.contract, path, digest, index):
                self.received[index] += table.num_rows
                self._note_unknown(table)
                yield table
        except FileRejected:
            self.received[index] = rows_of(path)
            raise

    def _read_text(self, index: int, path: Path) -> Iterator[pa.Table]:
        is_csv = path.name.endswith((".csv", ".csv.gz"))
        cutter = Cutter(quoted=is_csv)
        chunks = text_chunks(path, self.tasks[index].entry.sha256)
        group: Group = None
        is_begun = not is_csv
        for records in cutter.cut(chunks):
            rest = records
            if not is_begun and (len(records) or records.rejected):
                group, is_begun = self._header(index, records), True
                rest = _without_first(records)
            self.received[index] += len(rest) + len(rest.rejected)
            self.rejected += [(index, reject) for reject in rest.rejected]
            if index not in self.refused:
                yield from self._put(group, index, rest)
        if not is_begun or not (is_csv or self.received[index]):
            raise FileRejected(
                "empty", "it is empty; where there are no rows, leave it out or send a CSV header"
            )

    def _header(self, index: int, records: Records) -> Group:
        """Return the header; if it refuses the file, the rest is read only to count its rows."""
        try:
            header = header_of(self.contract, _first(records))
        except FileRejected as refusal:
            self.refused[index] = refusal
            return None
        self.unknown[index].update(set(header) - set(self.contract.names))
        return header

    def _put(self, group: Group, index: int, records: Records) -> Iterator[pa.Table]:
        if not len(records):
            return
        self._together[group].add(index, records)
        if self._together[group].is_batch(BATCH_ROWS, BATCH_BYTES):
            yield self._parsed(group)
        elif sum(waiting.size for waiting in self._together.values()) >= MOST_WAITING:
            for name in list(self._together):
                yield self._parsed(name)

    def _parsed(self, group: Group) -> pa.Table:
        together = self._together.pop(group)
        if group is None:
            table, rejected = jsonl_texts(self.connection, self.contract, together)
            self._note_unknown(table)
        else:
            table, rejected = csv_texts(self.connection, self.contract, group, together)
        self.rejected += rejected
        return table

    def _note_unknown(self, table: pa.Table) -> None:
        having = table.select(["task", "extras"]).filter(pc.is_valid(table["extras"]))
        if not having.num_rows:
            return
        for task, keys in _keys(self.connection, having):
            self.unknown[task].update(keys)


def _is_batch(tables: list[pa.Table]) -> bool:
    rows = sum(table.num_rows for table in tables)
    size: int = sum(table.nbytes for table in tables)
    return rows >= BATCH_ROWS or size >= 2 * BATCH_BYTES


def _emptied(tables: list[pa.Table]) -> list[pa.Table]:
    """Return what is in `tables`, and leave nothing in it."""
    taken = tables[:]
    tables.clear()
    return taken


def _keys(connection: duckdb.DuckDBPyConnection, having: pa.Table) -> list[tuple[int, list[str]]]:
    """Return the first keys of `extras` in each file, by name."""
    sql = f"""
        select task, list(key order by key)[:{MOST_UNKNOWN}] as keys
        from (select distinct task, unnest(json_keys(extras)) as key from received)
        group by task
    """
    found = query(connection, sql, having)
    return list(zip(found["task"].to_pylist(), found["keys"].to_pylist(), strict=True))


def _begins_broken(records: Records) -> bool:
    if not records.rejected:
        return False
    return not len(records) or bool(records.lines[0] > records.rejected[0].line)


def _first(records: Records) -> bytes:
    if _begins_broken(records):
        message = records.rejected[0].message
        raise FileRejected("header", f"the header cannot be read: {message}")
    return records.record(0)


def _without_first(records: Records) -> Records:
    """Return `records` without the header: the record, or the rejected one, that comes first."""
    if _begins_broken(records):
        return Records(records.data, records.offsets, records.lines, records.rejected[1:])
    start = int(records.offsets[1])
    return Records(
        records.data[start:], records.offsets[1:] - start, records.lines[1:], records.rejected
    )
