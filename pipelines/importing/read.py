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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pc

from expectations.mapping_types import Beside, ForeignFile
from pipelines.core.errors import ImportRejected
from pipelines.core.publishing import sha256
from pipelines.importing.lines import record_lines
from pipelines.importing.mapping_sql import literal, quote
from pipelines.importing.records import load

CHUNK = 1 << 20
OWN = ("row_line", "row_sha256")
"""Columns that every mapping may use besides the file's own."""
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


def receive(
    connection: duckdb.DuckDBPyConnection, file: Path, spec: ForeignFile, workspace: Path
) -> list[str]:
    """Fill `received` and `unreadable` from `file`; return the names of the file's columns.

    Raises:
        ImportRejected: The file is not what the mapping says, so nothing of it can be used.
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
        raise ImportRejected(
            f"{file.name} can't be read as {spec.format}, which the mapping says it is: {reason}. "
            "Nothing was written. Ask for the file again, or correct `file` in the mapping."
        ) from None
    return names


def receive_beside(
    connection: duckdb.DuckDBPyConnection, file: Path, tables: Mapping[str, Beside]
) -> dict[str, dict[str, Any] | None]:
    """Fill each table of `tables` from the file of that name beside `file`.

    Returns:
        By table `file`, `file_sha256` and `rows`; None where no file lies there: it is empty.

    Raises:
        ImportRejected: A file beside lacks a column or can't be read.
    """
    return {name: _beside(connection, file, name, spec) for name, spec in tables.items()}


def _beside(
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
            f"{path.name}, beside {file.name}, is not what `beside` in the mapping says: "
            f"{str(error).splitlines()[0]}. Nothing was written. Correct the mapping or the file, "
            "or take the file away: without it the mapping knows less."
        ) from None
    rows = connection.table(name).shape[0]
    return {"file": path.name, "file_sha256": sha256(path), "rows": rows}


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
    load(connection, text, offset, names, lines, pc.ParseOptions(delimiter=spec.delimiter))
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
    load(connection, text, offset, ["object"], lines, as_one_column)
    connection.execute("alter table received rename to objects")
    is_object = "coalesce(json_type(if(json_valid(object), object, null)) = 'OBJECT', false)"
    is_sound = f"{is_object} and not contains(object, '{UNDECODABLE}')"
    connection.execute(
        f"insert into unreadable select row_line, if({is_object}, 'encoding', 'format'),"
        f" if({is_object}, 'holds bytes that are not {spec.encoding}', 'is not a JSON object'),"
        f" object from objects where not ({is_sound})"
    )
    taken = ", ".join(
        f"json_extract_string(object, {literal(f'$.{quote(name)}')}) as {quote(name)}"
        for name in spec.names
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
        raise ImportRejected(
            f"the columns of {file.name} need names, each once and none of {', '.join(OWN)}; "
            f"found: {names}. Nothing was written. Correct `file` in the mapping: `skip_lines`, "
            "`delimiter`, or `header: false` with `names`."
        )
