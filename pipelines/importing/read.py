"""Read a foreign file, as its mapping says and never by guessing, into the table `received`.

`received` holds the file's own columns (text from csv and jsonl, native types from Parquet) and
`row_line`, the physical line (in Parquet the row, from 1). What is no row of such a file goes to
the table `unreadable (row_line, rule, message, received)`.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from expectations.mapping_types import ForeignFile
from pipelines.errors import ImportRefused
from pipelines.importing.lines import record_lines
from pipelines.importing.sql import quote

CHUNK = 1 << 20
BLOCK = 8 << 20
"""Bytes that pyarrow reads at once; no record may be longer."""
Lines = NDArray[np.int64]
OWN = ("row_line", "row_sha256")
"""Columns that every mapping may use besides the file's own."""
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


def receive(
    connection: duckdb.DuckDBPyConnection, file: Path, spec: ForeignFile, workspace: Path
) -> list[str]:
    """Fill `received` and `unreadable` from `file`; return the names of the file's columns.

    Raises:
        ImportRefused: The file is not what the mapping says, so nothing of it can be used.
    """
    connection.execute(
        "create table unreadable (row_line bigint, rule varchar, message varchar, received varchar)"
    )
    try:
        if spec.format == "parquet":
            names = _parquet(connection, file)
        else:
            text = workspace / "decoded.txt"
            _decode(file, spec.encoding, text)
            names = (_csv if spec.format == "csv" else _jsonl)(connection, text, spec)
    except (duckdb.Error, pa.ArrowInvalid, EOFError, OSError, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise ImportRefused(
            f"{file.name} can't be read as {spec.format}, which the mapping says it is: {reason}. "
            "Nothing was written. Ask for the file again, or correct `file` in the mapping."
        ) from None
    return names


def _parquet(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    relation = connection.read_parquet(str(file), file_row_number=True)
    names = [name for name in relation.columns if name != "file_row_number"]
    _check_names(names, file)
    relation.project("file_row_number + 1 as row_line, * exclude (file_row_number)").to_table(
        "received"
    )
    return names


def _decode(file: Path, encoding: str, into: Path) -> None:
    """Write `file` as UTF-8; bytes that can't be decoded become U+FFFD, so their rows show."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as source, into.open("wb") as to:
        at_start = True
        while chunk := source.read(CHUNK):
            text = decoder.decode(chunk)
            to.write((text.removeprefix("\ufeff") if at_start else text).encode())
            at_start = at_start and not text
        to.write(decoder.decode(b"", final=True).encode())


def _csv(connection: duckdb.DuckDBPyConnection, text: Path, spec: ForeignFile) -> list[str]:
    names, offset, line = _header(text, spec)
    _check_names(names, text)
    lines = record_lines(text, offset=offset, first_line=line, quoted=True)
    _load(connection, text, offset, names, lines, pc.ParseOptions(delimiter=spec.delimiter))
    texts = ", ".join(quote(name) for name in names)
    connection.execute(
        f"insert into unreadable select row_line, 'encoding', 'holds bytes that are not "
        f"{spec.encoding}', to_json(received) from received"
        f" where contains(concat_ws('', {texts}), '{UNDECODABLE}')"
    )
    connection.execute(
        f"delete from received where contains(concat_ws('', {texts}), '{UNDECODABLE}')"
    )
    return names


def _jsonl(connection: duckdb.DuckDBPyConnection, text: Path, spec: ForeignFile) -> list[str]:
    _, offset, line = _header(text, spec.model_copy(update={"names": ("object",)}))
    lines = record_lines(text, offset=offset, first_line=line, quoted=False)
    # JSON forbids the raw control character, so no object is ever split at it.
    as_one_column = pc.ParseOptions(delimiter="\x01", quote_char=False)
    _load(connection, text, offset, ["object"], lines, as_one_column)
    connection.execute("alter table received rename to objects")
    is_object = "coalesce(json_valid(object) and json_type(object) = 'OBJECT', false)"
    is_sound = f"{is_object} and not contains(object, '{UNDECODABLE}')"
    connection.execute(
        f"insert into unreadable select row_line, if({is_object}, 'encoding', 'format'),"
        f" if({is_object}, 'holds bytes that are not {spec.encoding}', 'is not a JSON object'),"
        f" object from objects where not ({is_sound})"
    )
    taken = ", ".join(
        f"json_extract_string(object, '$.{quote(name)}') as {quote(name)}" for name in spec.names
    )
    connection.execute(
        f"create table received as select row_line, {taken} from objects where {is_sound}"
    )
    connection.execute("drop table objects")
    return list(spec.names)


def _header(text: Path, spec: ForeignFile) -> tuple[list[str], int, int]:
    """Return the column names, and the byte and line at which the first record begins."""
    with text.open("rb") as file:
        skipped = sum(bool(file.readline()) for _ in range(spec.skip_lines))
        names = list(spec.names)
        if not names:
            skipped += 1
            first = file.readline().decode().rstrip("\r\n")
            names = next(csv.reader(io.StringIO(first), delimiter=spec.delimiter), [])
        return names, file.tell(), skipped + 1


def _check_names(names: list[str], file: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice or "" in names or set(names) & set(OWN):
        raise ImportRefused(
            f"the columns of {file.name} need names, each once and none of {', '.join(OWN)}; "
            f"found: {names}. Nothing was written. Correct `file` in the mapping: `skip_lines`, "
            "`delimiter`, or `header: false` with `names`."
        )


def _load(
    connection: duckdb.DuckDBPyConnection,
    text: Path,
    offset: int,
    names: list[str],
    lines: Lines,
    parse: pc.ParseOptions,
) -> None:
    faults: list[pc.InvalidRow] = []

    def keep(row: pc.InvalidRow) -> str:
        faults.append(row)
        return "skip"

    parse.newlines_in_values = bool(parse.quote_char)
    parse.invalid_row_handler = keep
    schema = pa.schema([("row_line", pa.int64()), *((name, pa.string()) for name in names)])
    with text.open("rb") as file:
        file.seek(offset)
        batches = _with_lines(_batches(file, names, parse), faults, lines, schema)
        connection.register("reader", pa.RecordBatchReader.from_batches(schema, batches))
        connection.execute("create table received as select * from reader")
        connection.unregister("reader")
    rows = connection.table("received").shape[0]
    if rows + len(faults) != lines.size:
        # Quotes stand where RFC 4180 allows none: no line number is better than a wrong one.
        connection.execute("update received set row_line = null")
        lines = lines[:0]
    _keep_faults(connection, faults, lines)


def _keep_faults(
    connection: duckdb.DuckDBPyConnection, faults: list[pc.InvalidRow], lines: Lines
) -> None:
    kept = pa.table(
        {
            "row_line": _take(lines, np.array([row.number - 1 for row in faults], np.int64)),
            "rule": pa.array(["fields"] * len(faults), pa.string()),
            "message": pa.array(
                [f"has {row.actual_columns} fields, not {row.expected_columns}" for row in faults],
                pa.string(),
            ),
            "received": pa.array([row.text for row in faults], pa.string()),
        }
    )
    connection.register("kept", kept)
    connection.execute("insert into unreadable select * from kept")
    connection.unregister("kept")


def _batches(
    file: io.BufferedReader, names: list[str], parse: pc.ParseOptions
) -> Iterator[pa.RecordBatch]:
    try:
        yield from pc.open_csv(
            file,
            read_options=pc.ReadOptions(use_threads=False, column_names=names, block_size=BLOCK),
            parse_options=parse,
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise


def _with_lines(
    batches: Iterator[pa.RecordBatch],
    faults: list[pc.InvalidRow],
    lines: Lines,
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    record = 0
    for batch in batches:
        # The reader skips faulty records, so the lines of the rows it gives have gaps there.
        ahead = np.arange(record, record + batch.num_rows + len(faults))
        sound = ahead[~np.isin(ahead, [row.number - 1 for row in faults])][: batch.num_rows]
        record = int(sound[-1]) + 1 if sound.size else record
        yield pa.RecordBatch.from_arrays([_take(lines, sound), *batch.columns], schema=schema)


def _take(lines: Lines, records: Lines) -> pa.Array:
    known = records < lines.size
    return pa.array(np.append(lines, 0)[np.where(known, records, -1)], pa.int64(), mask=~known)
