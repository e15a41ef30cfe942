"""Erase persons from landed files: find their rows, and empty the lines of these rows.

An emptied line is passed over when the file is read again, so every other row keeps its line. A row
of a Parquet file is emptied in the same way: all its values are missing. The outcome of a delivered
match is billed, so it stays without the person: with random ids, and the columns of the contract.
"""

import csv
import gzip
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.contracts import load
from pipelines.core.arrays import BoolArray
from pipelines.core.home.erasures import record_changed_landing
from pipelines.core.publishing import sha256, sync
from pipelines.core.settings import Settings
from pipelines.ingest.landing import FORMATS, is_source, parse_date
from pipelines.ingest.ledger import Entry
from pipelines.ingest.phones import normalise_phones
from pipelines.ingest.plan import Task
from pipelines.ingest.reading.reader import FeedReader
from pipelines.persons.subjects import NO_WORD, Subjects, flag, join_keys

PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
ORDER_LISTS, OUTCOMES, LEADS = "suppressions", "outcomes", "leads"
DEPTH = 4
"""FEED/SOURCE/YYYY-MM-DD/NAME."""

LINES = pa.schema([("path", pa.string()), ("line", pa.int64()), ("lines", pa.int64())])
"""`path` below landing/; `line` the first line of a row, from 1, `lines` their number; of a Parquet
file the row and 1."""


@dataclass(frozen=True)
class _Landed:
    """A file below landing/, read or not."""

    path: str
    place: Path

    @property
    def feed(self) -> str:
        return self.path.split("/")[0]

    @property
    def source(self) -> str:
        return self.path.split("/")[1] if "/" in self.path else ""

    @property
    def day(self) -> str:
        """Return the date of its folder."""
        parts = self.path.split("/")
        return parts[2] if len(parts) == DEPTH else ""

    @property
    def is_of_leads(self) -> bool:
        """Return whether the reader of leads can read it."""
        parts = self.path.split("/")
        return (
            len(parts) == DEPTH
            and parts[0] == LEADS
            and is_source(parts[1])
            and parse_date(parts[2]) is not None
            and parts[3].endswith(FORMATS)
        )


def find_lines(
    connection: duckdb.DuckDBPyConnection, settings: Settings, subjects: Subjects
) -> pa.Table:
    """Return the rows of landed files that name one of the persons, see `LINES`.

    A row is theirs if its lead is, if its phone or number is, or if it has a word that only they
    have; so it is found in files, too, that no run could read.

    Args:
        connection: Runs the queries; with the view `leads` of the lake.
        settings: Where landing/ and the lake are.
        subjects: The persons.
    """
    named = _list_named_files(connection, subjects)
    of_leads: list[_Landed] = []
    found = [LINES.empty_table(), find_outcome_lines(connection, settings, subjects)]
    for file in _walk(settings.landing):
        if file.feed == ORDER_LISTS:
            found.append(_find_orders(file, subjects))
            continue
        numbers = _find_worded_rows(file, subjects)
        if len(numbers):
            found.append(_to_lines(file.path, numbers, np.ones(len(numbers), np.int64)))
        if file.is_of_leads and (len(numbers) or file.path in named):
            of_leads.append(file)
    found += _read_leads(connection, settings, of_leads, subjects)
    lines = pa.concat_tables(found).group_by(["path", "line"]).aggregate([("lines", "max")])
    return lines.rename_columns({"lines_max": "lines"}).select(LINES.names).cast(LINES)


def find_worded_lines(settings: Settings, subjects: Subjects) -> Iterator[tuple[str, int, bytes]]:
    """Yield path below landing/, number and text of each line that has a word of the subjects.

    Lists of orders are left out.
    """
    for file in _walk(settings.landing):
        if file.feed == ORDER_LISTS:
            continue
        if len(numbers := _find_worded_rows(file, subjects)):
            texts = read_lines(file.place, numbers)
            yield from zip([file.path] * len(texts), numbers.tolist(), texts, strict=True)


def find_lead_lines(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    subjects: Subjects,
    folders: set[str],
) -> pa.Table:
    """Return the rows of landed files of leads that are of some leads, see `LINES`.

    Args:
        connection: Runs the queries; with the view `leads` of the lake.
        settings: Where landing/ is.
        subjects: The leads.
        folders: Dates (ISO) of whose folders every row is returned, of a lead or not.
    """
    named = _list_named_files(connection, subjects)
    files = [
        _Landed(f"{LEADS}/{file.path}", file.place) for file in _walk(settings.landing / LEADS)
    ]
    whole = [file for file in files if file.day in folders]
    single = [file for file in files if file.day not in folders and file.path in named]
    found = [LINES.empty_table(), *map(_list_all_rows, whole)]
    found += _read_leads(connection, settings, [f for f in single if f.is_of_leads], subjects)
    return pa.concat_tables(found)


def _list_all_rows(file: _Landed) -> pa.Table:
    """Return every row of a file; of a CSV without its header."""
    if is_parquet(file.place):
        numbers = np.arange(1, pq.read_metadata(file.place).num_rows + 1)
    else:
        first = 2 if ".csv" in file.place.name else 1
        numbers = np.arange(first, read_landed(file.place).count(b"\n") + 2)
    return _to_lines(file.path, numbers, np.ones(len(numbers), np.int64))


def erase_lines(
    settings: Settings, lines: pa.Table, subjects: Subjects
) -> Iterator[tuple[str, int, str, str]]:
    """Empty the rows `lines` of landed files; yield path, number of rows, hash before and after.

    A file is changed once its facts were taken. Its name, permissions and time of modification
    stay.
    """
    for path in sorted(pc.unique(lines["path"]).to_pylist()):
        place = settings.landing / path
        if not place.is_file():
            continue
        own = lines.filter(pc.equal(lines["path"], path))
        fresh = place.with_name(f".{place.name}.erased")
        before = sha256(place)
        if not _write_emptied(_Landed(path, place), fresh, own, subjects):
            fresh.unlink(missing_ok=True)
            continue
        shutil.copystat(place, fresh)
        after = sha256(fresh)
        record_changed_landing(settings.home, path, before, after)
        sync(fresh)
        yield path, own.num_rows, before, after
        fresh.replace(place)


def read_landed(place: Path) -> bytes:
    """Return the text of a landed file; of a damaged compressed one, what can be read of it."""
    data = place.read_bytes()
    if not data.startswith(GZIP):
        return data
    reader, text = zlib.decompressobj(wbits=31), b""
    try:
        while data:
            text += reader.decompress(data)
            data = reader.unused_data
            reader = zlib.decompressobj(wbits=31)
    except zlib.error:
        pass
    return text


def read_lines(place: Path, numbers: np.ndarray) -> list[bytes]:
    """Return the text of some lines of a landed file; of a Parquet file its rows as JSON."""
    if is_parquet(place):
        rows = pq.read_table(place, partitioning=None)
        rows = rows.take(pa.array(numbers[numbers <= rows.num_rows] - 1)).to_pylist()
        return [json.dumps(row, default=str, ensure_ascii=False).encode() for row in rows]
    lines = read_landed(place).split(b"\n")
    return [lines[number - 1] for number in numbers if number <= len(lines)]


def is_parquet(place: Path) -> bool:
    """Return whether a file is a whole Parquet file, under any name."""
    with place.open("rb") as file:
        if file.read(4) != PARQUET:
            return False
        file.seek(-4, os.SEEK_END)
        return file.read(4) == PARQUET


def _walk(landing: Path) -> Iterator[_Landed]:
    seen = set()
    for folder, folders, names in os.walk(landing, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            place = Path(folder) / name
            if place.is_file() and not name.endswith(".erased"):
                yield _Landed(place.relative_to(landing).as_posix(), place)


def _list_named_files(connection: duckdb.DuckDBPyConnection, subjects: Subjects) -> set[str]:
    """Return the paths below landing/ from which the lake has the persons' leads."""
    connection.register("subject_leads", subjects.leads)
    rows = connection.execute(
        """
        select distinct 'leads/' || channel_id || '/' || landed_on || '/' || file
        from leads semi join subject_leads using (channel_id, lead_id)
        where landed_on is not null
        """
    ).fetchall()
    return {path for (path,) in rows} | set(subjects.rejected["path"].to_pylist())


def find_outcome_lines(
    connection: duckdb.DuckDBPyConnection, settings: Settings, subjects: Subjects
) -> pa.Table:
    """Return the landed lines of the persons' outcomes, as the lake recorded them."""
    files = [str(path) for path in (settings.lake / "outcomes").glob("date=*/outcomes.parquet")]
    if not files:
        return LINES.empty_table()
    connection.read_parquet(files, hive_partitioning=False, union_by_name=True).create_view(
        "outcomes", replace=True
    )
    connection.register("subject_leads", subjects.leads)
    connection.register("subject_matches", subjects.matches)
    return (
        connection.sql(
            """
        select
            'outcomes/' || institution_id || '/' || landed_on || '/' || file as path,
            file_line as line,
            1 as lines
        from outcomes
        where
            landed_on is not null and file_line is not null
            and (
                match_id in (select match_id from subject_matches)
                or (channel_id, lead_id) in (select (channel_id, lead_id) from subject_leads)
            )
        """
        )
        .to_arrow_table()
        .cast(LINES)
    )


def _find_worded_rows(file: _Landed, subjects: Subjects) -> np.ndarray:
    """Return the lines, from 1, that have a word of a person; of a Parquet file the rows."""
    if is_parquet(file.place):
        return np.flatnonzero(_find_worded_values(file.place, subjects)) + 1
    text = read_landed(file.place)
    if not subjects.find_words(text):
        return np.array([], np.int64)
    lines = text.split(b"\n")
    return np.array([n for n, line in enumerate(lines, 1) if subjects.find_words(line)], np.int64)


def _find_worded_values(place: Path, subjects: Subjects) -> BoolArray:
    """Return of each row of a Parquet file whether a value of it is, or has, a word of a person."""
    table = pq.read_table(place, partitioning=None)
    words = pa.array([word.decode() for word in subjects.words], pa.string())
    found = np.zeros(table.num_rows, np.bool_)
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)  # noqa: PLW2901
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            texts = pc.fill_null(column.cast(pa.string()), "").combine_chunks()
            parts = pc.split_pattern_regex(texts, pattern=NO_WORD)
            hits = flag(pc.list_flatten(parts), words)
            found[np.asarray(pc.list_parent_indices(parts))[hits]] = True
    return found


def _find_orders(file: _Landed, subjects: Subjects) -> pa.Table:
    """Return the lines of an order list that name a lead which an order by hash replaces."""
    keys = subjects.hashed_leads
    if is_parquet(file.place):
        table = pq.read_table(file.place, partitioning=None)
        if "subject" not in table.column_names:
            return LINES.empty_table()
        hits = flag(table["subject"].cast(pa.string()), keys)
        numbers = np.flatnonzero(hits) + 1
    else:
        wanted = {key.encode() for key in keys.to_pylist()}
        text = read_landed(file.place)
        numbers = np.array(
            [
                number
                for number, line in enumerate(text.split(b"\n"), 1)
                if any(part in wanted for part in line.replace(b'"', b",").split(b","))
            ],
            np.int64,
        )
    return _to_lines(file.path, numbers, np.ones(len(numbers), np.int64))


def _read_leads(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    files: list[_Landed],
    subjects: Subjects,
) -> Iterator[pa.Table]:
    """Yield the lines of the persons' rows in files of leads, by lead, number and phone."""
    tasks = tuple(_make_task(file) for file in files)
    reader = FeedReader(connection, load(LEADS), settings.landing, tasks)
    paths = pa.array([file.path for file in files], pa.string())
    sources = pa.array([file.source for file in files], pa.string())
    for rows in reader.read_tables():
        channels = sources.take(rows["task"].combine_chunks())
        hits = _find_lead_rows(rows, pa.chunked_array([channels]), subjects)
        lines = rows["line"].cast(pa.string()).combine_chunks()
        keys = pc.binary_join_element_wise(paths.take(rows["task"].combine_chunks()), lines, ":")
        hits |= flag(keys, subjects.rejected_lines)
        own = rows.filter(pa.array(hits))
        counts = pc.add(pc.count_substring(pc.fill_null(own["received"], ""), "\n"), 1)
        place = paths.take(own["task"].combine_chunks())
        yield pa.table([place, own["line"], counts], names=LINES.names).cast(LINES)
        for task, record in reader.rejected:
            if subjects.find_words(record.received.encode()):
                lines = record.received.count("\n") + 1
                yield _to_lines(files[task].path, np.array([record.line]), np.array([lines]))
        reader.rejected.clear()


def _find_lead_rows(rows: pa.Table, channels: pa.ChunkedArray, subjects: Subjects) -> BoolArray:
    """Return the rows of one of the persons."""
    is_lead = flag(join_keys(channels, rows["lead_id"]), subjects.lead_keys)
    numbers, owners = (
        pc.utf8_upper(pc.replace_substring_regex(rows[name], r"[\s-]", ""))
        for name in ("id_number", "owner_id_number")
    )
    phones, _ = normalise_phones(rows["phone"], channels)
    is_number = flag(numbers, subjects.values_of("id_number"))
    is_number |= flag(owners, subjects.values_of("id_number"))
    is_phone = flag(phones, subjects.values_of("phone"))
    has_number = np.asarray(pc.greater(pc.fill_null(pc.utf8_length(numbers), 0), 0))
    found: BoolArray = is_lead | is_number | (is_phone & ~has_number)
    return found


def _make_task(file: _Landed) -> Task:
    size, digest = file.place.stat().st_size, sha256(file.place)
    entry = Entry(LEADS, file.source, file.day, file.path, 1, digest, size, file.day, is_late=False)
    return Task(entry, file.path)


def _to_lines(path: str, lines: np.ndarray, counts: np.ndarray) -> pa.Table:
    return pa.table([pa.array([path] * len(lines)), lines, counts], names=LINES.names).cast(LINES)


def _write_emptied(file: _Landed, fresh: Path, lines: pa.Table, subjects: Subjects) -> bool:
    """Write the file without the persons in `lines`; return whether it differs."""
    if is_parquet(file.place):
        return _write_emptied_rows(file, fresh, lines["line"].to_numpy(), subjects)
    text = read_landed(file.place)
    parts = text.split(b"\n")
    emptied = list(parts)
    for line, count in zip(lines["line"].to_pylist(), lines["lines"].to_pylist(), strict=True):
        for number in range(line, min(line + count, len(parts) + 1)):
            emptied[number - 1] = b""
        if file.feed == OUTCOMES and count == 1 and line <= len(parts):
            emptied[line - 1] = _unlink_line(parts[line - 1], parts[0], file.source, subjects)
    changed = b"\n".join(emptied)
    is_compressed = file.place.read_bytes()[:2] == GZIP
    fresh.write_bytes(gzip.compress(changed, mtime=0) if is_compressed else changed)
    return changed != text


def _unlink_line(line: bytes, header: bytes, source: str, subjects: Subjects) -> bytes:
    """Return the line of an outcome without the person; empty if nothing is billed by it."""
    end = b"\r" if line.endswith(b"\r") else b""
    try:
        if line.lstrip().startswith(b"{"):
            row = {str(key): value for key, value in json.loads(line).items()}
            kept = subjects.unlink_outcome(row, source)
            return json.dumps(kept, ensure_ascii=False).encode() + end if kept else b""
        names, values = (
            next(csv.reader([part.decode("utf-8-sig").rstrip("\r")])) for part in (header, line)
        )
    except (ValueError, AttributeError, csv.Error, StopIteration):
        return b""
    if len(names) != len(values):
        return b""
    row = dict(zip((name.strip() for name in names), values, strict=True))
    kept = subjects.unlink_outcome(row, source)
    if not kept:
        return b""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([kept.get(name) for name in row])
    return written.getvalue().encode() + end


def _write_emptied_rows(file: _Landed, fresh: Path, rows: np.ndarray, subjects: Subjects) -> bool:
    table = pq.read_table(file.place, partitioning=None)
    numbers = rows[(rows > 0) & (rows <= table.num_rows)] - 1
    is_row = np.zeros(table.num_rows, np.bool_)
    is_row[numbers] = True
    schema = pa.schema([field.with_nullable(True) for field in table.schema])  # noqa: FBT003
    columns = [
        pc.if_else(pa.array(is_row), pa.scalar(None, column.type), column)
        for column in (table[name] for name in table.column_names)
    ]
    emptied = pa.table(columns, schema=schema)
    if file.feed == OUTCOMES and len(numbers):
        own = [subjects.unlink_outcome(row, file.source) for row in table.take(numbers).to_pylist()]
        position = np.arange(table.num_rows)
        position[numbers] = table.num_rows + np.arange(len(numbers))
        kept = pa.Table.from_pylist([row or {} for row in own], schema)
        emptied = pa.concat_tables([emptied, kept]).take(pa.array(position))
    pq.write_table(emptied, fresh, compression="zstd")
    return not emptied.equals(table.cast(schema))
