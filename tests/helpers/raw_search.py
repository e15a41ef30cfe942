"""A search for values in every file of a folder, by own code: any format, any depth."""

import gzip
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

ESCAPE = re.compile(rb"\\\\u([0-9a-fA-F]{4})")
"""A character as JSON may write it."""
WORD = re.compile(rb"[0-9A-Za-z][0-9A-Za-z_./-]{3,}|[\x80-\xff]+")


def find_values(home: Path, values: Iterable[str]) -> dict[str, list[str]]:
    """Return path below `home` -> the values found in the file, also within other text."""
    wanted = sorted({value for value in values if value})
    pattern = re.compile("|".join(map(re.escape, wanted)).encode())
    found = {}
    for path in sorted(home.rglob("*")):
        if path.is_file():
            hits = {hit.decode() for part in read_parts(path) for hit in pattern.findall(part)}
            if hits:
                found[path.relative_to(home).as_posix()] = sorted(hits)
    return found


def find_words(home: Path, values: Iterable[str]) -> dict[str, list[str]]:
    """Return what `find_values` does, for many values: each must be a word by itself."""
    wanted = {value.encode() for value in values if value}
    wanted |= {value.lstrip(b"+") for value in wanted}
    found = {}
    for path in sorted(home.rglob("*")):
        if path.is_file():
            words = {word for part in read_parts(path) for word in WORD.findall(part)}
            words |= {part for word in words for part in re.split(rb"[/.]", word)}
            if hits := words & wanted:
                found[path.relative_to(home).as_posix()] = sorted(hit.decode() for hit in hits)
    return found


def read_parts(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, and what they hold where they are packed."""
    data = path.read_bytes()
    yield data
    if ESCAPE.search(data):
        yield ESCAPE.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), data)
    if data.startswith(b"SQLite format 3"):
        yield _dump(path)
    if data[:2] == b"\x1f\x8b":
        yield _unzip(data)
    if data[:4] == b"PAR1" and data[-4:] == b"PAR1":
        yield _as_text(pq.read_table(pa.BufferReader(data), partitioning=None))
    if path.suffix == ".arrow":
        yield _as_text(feather.read_table(path))
    if path.suffix == ".duckdb":
        with suppress(duckdb.IOException), duckdb.connect(str(path), read_only=True) as connection:
            tables = connection.execute(
                "select table_schema, table_name from information_schema.tables"
            ).fetchall()
            for schema, name in tables:
                yield _as_text(connection.execute(f'from "{schema}"."{name}"').to_arrow_table())


def _unzip(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return zlib.decompressobj(wbits=31).decompress(data)


def _dump(path: Path) -> bytes:
    """Return every row of a SQLite database, with what its journal has."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return "\n".join(database.iterdump()).encode("utf-8", "replace")


def _as_text(table: pa.Table) -> bytes:
    return "\n".join(str(row) for row in table.to_pylist()).encode()
