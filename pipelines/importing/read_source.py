"""Read a foreign file as its mapping describes it, without guessing, into the table `received`.

`received` has the file's own columns (text from csv and jsonl, native types from Parquet) and
`row_line`, the physical line (of Parquet the row, from 1). Records that cannot be read are in the
table `unreadable (row_line, rule, message, received)`. Text is split by ingest's record splitter.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from expectations.mapping_types import Beside, ForeignFile
from pipelines.core.errors import FileRejected, ImportRejected
from pipelines.core.publishing import sha256
from pipelines.importing.mapping_sql import literal, quote
from pipelines.ingest.reading.record_splitter import RecordSplitter
from pipelines.ingest.reading.records import RecordBuffer, Records, RejectedRecord
from pipelines.ingest.reading.text_formats import split_fields

CHUNK = 1 << 22
"""Bytes that are decoded together."""
RESERVED_COLUMNS = ("row_line", "row_sha256")
"""Columns that every mapping can use besides the file's own."""
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


def read_source(connection: duckdb.DuckDBPyConnection, file: Path, spec: ForeignFile) -> list[str]:
    """Fill `received` and `unreadable` from `file`; return the names of the file's columns.

    Raises:
        ImportRejected: The file does not fit the mapping, so nothing of it can be used.
    """
    connection.execute(
        "create table unreadable (row_line bigint, rule varchar, message varchar, received varchar)"
    )
    read = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": _read_parquet}[spec.format]
    try:
        names = read(connection, file, spec)
    except (duckdb.Error, pa.ArrowInvalid, EOFError, OSError, zlib.error, FileRejected) as error:
        reason = str(error).splitlines()[0]
        raise ImportRejected(
            f"{file.name} can't be read as {spec.format}, the format in the mapping: {reason}. "
            "Nothing was written. Ask for the file again, or correct `file` in the mapping."
        ) from None
    return names


def read_companion_tables(
    connection: duckdb.DuckDBPyConnection, file: Path, tables: Mapping[str, Beside]
) -> dict[str, dict[str, Any] | None]:
    """Fill each table of the mapping's `beside` from the file of that name in the same folder.

    Returns:
        By table `file`, `file_sha256` and `rows`; None where the file is missing and the table
        empty.

    Raises:
        ImportRejected: A companion file lacks a column or can't be read.
    """
    return {name: _read_companion(connection, file, name, spec) for name, spec in tables.items()}


def _read_companion(
    connection: duckdb.DuckDBPyConnection, file: Path, name: str, spec: Beside
) -> dict[str, Any] | None:
    path = file.parent / spec.file
    typed = ", ".join(f"{quote(column)} {kind}" for column, kind in spec.columns.items())
    connection.execute(f"create table {quote(name)} ({typed})")
    if not path.is_file():
        return None
    columns = ", ".join(map(quote, spec.columns))
    try:
        connection.execute(
            f"insert into {quote(name)} select {columns} from read_parquet({literal(str(path))})"
        )
    except duckdb.Error as error:
        raise ImportRejected(
            f"{path.name}, beside {file.name}, does not fit `beside` in the mapping: "
            f"{str(error).splitlines()[0]}. Nothing was written. Correct the mapping or the file, "
            "or remove the file: the import works without it, with fewer facts."
        ) from None
    rows = connection.table(name).shape[0]
    return {"file": path.name, "file_sha256": sha256(path), "rows": rows}


def _read_parquet(
    connection: duckdb.DuckDBPyConnection, file: Path, _spec: ForeignFile
) -> list[str]:
    relation = connection.read_parquet(str(file), file_row_number=True)
    names = [name for name in relation.columns if name != "file_row_number"]
    _check_names(names, file)
    relation.project("file_row_number + 1 as row_line, * exclude (file_row_number)").to_table(
        "received"
    )
    return names


def _read_csv(connection: duckdb.DuckDBPyConnection, file: Path, spec: ForeignFile) -> list[str]:
    records = _split_records(file, spec, quoted=True)
    names = list(spec.names)
    if not names:
        names, records = _read_header(records, spec.delimiter)
    _check_names(names, file)
    rejected: list[RejectedRecord] = []
    _load(connection, "received", names, _split_rows(records, names, spec.delimiter, rejected))
    _add_unreadable(connection, rejected)
    texts = ", ".join(quote(name) for name in names)
    is_undecodable = f"contains(concat_ws('', {texts}), '{UNDECODABLE}')"
    connection.execute(
        f"insert into unreadable select row_line, 'encoding', 'holds bytes that are not "
        f"{spec.encoding}', to_json(received) from received where {is_undecodable}"
    )
    connection.execute(f"delete from received where {is_undecodable}")
    return names


def _read_json_lines(
    connection: duckdb.DuckDBPyConnection, file: Path, spec: ForeignFile
) -> list[str]:
    rejected: list[RejectedRecord] = []
    records = _split_records(file, spec, quoted=False)
    _load(connection, "objects", ["object"], _lines(records, rejected))
    _add_unreadable(connection, rejected)
    is_object = "coalesce(json_type(if(json_valid(object), object, null)) = 'OBJECT', false)"
    is_readable = f"{is_object} and not contains(object, '{UNDECODABLE}')"
    connection.execute(
        f"insert into unreadable select row_line, if({is_object}, 'encoding', 'format'),"
        f" if({is_object}, 'holds bytes that are not {spec.encoding}', 'is not a JSON object'),"
        f" object from objects where not ({is_readable})"
    )
    columns = ", ".join(
        f"json_extract_string(object, {literal(f'$.{quote(name)}')}) as {quote(name)}"
        for name in spec.names
    )
    connection.execute(
        f"create table received as select row_line, {columns} from objects where {is_readable}"
    )
    connection.execute("drop table objects")
    return list(spec.names)


def _split_records(file: Path, spec: ForeignFile, *, quoted: bool) -> Iterator[Records]:
    """Yield the records after the skipped lines of the file, decoded to UTF-8."""
    splitter = RecordSplitter(quoted, spec.delimiter, line=spec.skip_lines + 1)
    return splitter.split(_skip_lines(_decode(file, spec.encoding), spec.skip_lines))


def _decode(file: Path, encoding: str) -> Iterator[bytes]:
    """Yield the file as UTF-8; undecodable bytes become U+FFFD, which marks their rows."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as source:
        is_start = True
        while chunk := source.read(CHUNK):
            text = decoder.decode(chunk)
            yield (text.removeprefix("\ufeff") if is_start else text).encode()
            is_start = is_start and not text
        yield decoder.decode(b"", final=True).encode()


def _skip_lines(chunks: Iterable[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        start = 0
        while count and start < len(chunk):
            end = chunk.find(b"\n", start)
            count -= end >= 0
            start = end + 1 if end >= 0 else len(chunk)
        yield chunk[start:]


def _read_header(records: Iterator[Records], delimiter: str) -> tuple[list[str], Iterator[Records]]:
    """Return the names of the first record, and the records after it."""
    first = next((part for part in records if len(part) or part.rejected), None)
    if first is None:
        return [], records
    text = io.StringIO(first.header().decode("utf-8"), newline="")
    names = next(csv.reader(text, delimiter=delimiter), [])
    return names, chain([first.without_header()], records)


def _split_rows(
    records: Iterable[Records], names: list[str], delimiter: str, rejected: list[RejectedRecord]
) -> Iterator[pa.Table]:
    """Yield the fields of CSV records after their `row_line`; add the others to `rejected`."""
    for part in records:
        rejected += part.rejected
        if not len(part):
            continue
        fields, misfits = split_fields(part, names, delimiter, empty_is_null=True)
        is_read = np.ones(len(part), bool)
        for row, count in misfits:
            is_read[row] = False
            received = part.record(row).decode("utf-8").rstrip("\r\n")
            message = f"has {count} fields, not {len(names)}"
            rejected.append(RejectedRecord(int(part.lines[row]), "fields", message, received))
        yield fields.add_column(0, "row_line", pa.array(part.lines[is_read]))


def _lines(records: Iterable[Records], rejected: list[RejectedRecord]) -> Iterator[pa.Table]:
    """Yield each line as `object`, after its `row_line`; add unreadable lines to `rejected`."""
    for part in records:
        rejected += part.rejected
        if len(part):
            buffer = RecordBuffer()
            buffer.add(0, part)
            lines = buffer.lineage()
            yield pa.table({"row_line": lines["line"], "object": lines["received"]})


def _load(
    connection: duckdb.DuckDBPyConnection, table: str, names: list[str], parts: Iterable[pa.Table]
) -> None:
    """Create `table` with `row_line` and the text columns `names`, and fill it with `parts`."""
    schema = pa.schema([("row_line", pa.int64()), *((name, pa.string()) for name in names)])
    connection.register("part", schema.empty_table())
    connection.execute(f"create table {table} as select * from part")
    for part in parts:
        connection.register("part", part.combine_chunks())
        connection.execute(f"insert into {table} select * from part")
    connection.unregister("part")


def _add_unreadable(connection: duckdb.DuckDBPyConnection, rejected: list[RejectedRecord]) -> None:
    table = pa.table(
        {
            "row_line": pa.array([record.line for record in rejected], pa.int64()),
            "rule": pa.array([record.rule for record in rejected], pa.string()),
            "message": pa.array([record.message for record in rejected], pa.string()),
            "received": pa.array([record.received for record in rejected], pa.string()),
        }
    )
    connection.register("rejected", table)
    connection.execute("insert into unreadable select * from rejected")
    connection.unregister("rejected")


def _check_names(names: list[str], file: Path) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated or "" in names or set(names) & set(RESERVED_COLUMNS):
        raise ImportRejected(
            f"the columns of {file.name} need names, each once and none of "
            f"{', '.join(RESERVED_COLUMNS)}; the file has: {names}. Nothing was written. Correct "
            "`file` in the mapping: `skip_lines`, `delimiter`, or `header: false` with `names`."
        )
