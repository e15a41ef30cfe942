"""Search every file of a home for persons, in any format: the proof that an erasure is whole."""

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.settings import Settings
from pipelines.persons.landed import is_parquet, read_landed
from pipelines.persons.places import find_place, is_in_scope
from pipelines.persons.subjects import NO_WORD, Subjects, flag, join_keys
from pipelines.persons.tables import LEAD_COLUMNS, LINKED_COLUMNS, read_batches, read_schema

FREE_TEXT = re.compile("extras|received|message|detail|words|sent|reason|source|evidence|purpose")
"""Names of columns whose text may hold a value among others."""


@dataclass
class SearchResult:
    """Files and bytes that were searched, and what was found."""

    files: int = 0
    bytes: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """Path below the home -> number of values."""


def search_home(
    settings: Settings, subjects: Subjects, scope: tuple[str, ...] = ()
) -> SearchResult:
    """Search every file of the home for the words and leads of the persons.

    Left out are the places that an erasure leaves as they are (`places.PLACES`).

    Args:
        settings: Where the home is.
        subjects: The persons.
        scope: Patterns of the places that are searched; empty: every place.
    """
    result = SearchResult()
    words = pa.array([word.decode() for word in subjects.words], pa.string())
    for path in sorted(settings.home.rglob("*")):
        name = path.relative_to(settings.home).as_posix()
        place = find_place(name)
        if not path.is_file() or (place and place.treatment == "leave"):
            continue
        if not is_in_scope(name, scope):
            continue
        result.files += 1
        result.bytes += path.stat().st_size
        is_of_orders = place is not None and place.treatment == "orders"
        if hits := _count(path, subjects, words, is_of_orders=is_of_orders):
            result.found[name] = hits
    return result


def _count(path: Path, subjects: Subjects, words: pa.Array, *, is_of_orders: bool) -> int:
    """Return the number of values in a file that name one of the persons."""
    if path.suffix == ".duckdb":
        return sum(_count_rows(table, subjects, words) for table in _read_database(path))
    if path.suffix in {".db", ".sqlite"}:
        return len(subjects.find_words(_dump(path)))
    if path.suffix == ".arrow" or is_parquet(path):
        names = read_schema(path).names if path.suffix == ".arrow" else pq.read_schema(path).names
        count = _count_orders if is_of_orders else _count_rows
        return sum(count(rows, subjects, words) for rows in read_batches(path, names))
    if is_of_orders:
        text = read_landed(path)
        return sum(key.encode() in text for key in subjects.hashed_leads.to_pylist())
    return len(subjects.find_words(read_landed(path)))


def _count_orders(rows: pa.Table, subjects: Subjects, _: pa.Array) -> int:
    """Return the number of orders that name a lead in plain; the hash of an order stays."""
    if "subject" not in rows.column_names:
        return 0
    return int(flag(rows["subject"].cast(pa.string()), subjects.hashed_leads).sum())


def _count_rows(rows: pa.Table, subjects: Subjects, words: pa.Array) -> int:
    """Return the number of values of a table that name one of the persons."""
    found = 0
    for channel, lead in (LEAD_COLUMNS, *LINKED_COLUMNS):
        if {channel, lead}.issubset(rows.column_names):
            found += int(flag(join_keys(rows[channel], rows[lead]), subjects.lead_keys).sum())
    for name in rows.column_names:
        for texts in _list_texts(rows[name]):
            if FREE_TEXT.search(name):
                parts = pc.split_pattern_regex(pc.fill_null(texts, ""), pattern=NO_WORD)
                found += int(flag(pc.list_flatten(parts), words).sum())
            else:
                found += int(flag(pc.utf8_ltrim(texts, "+"), words).sum())
    return found


def _list_texts(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """Yield the texts of a column, of lists and structures as well."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _list_texts(array.flatten())
    elif pa.types.is_struct(array.type):
        for part in array.flatten():
            yield from _list_texts(part)
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        yield array.cast(pa.string())


def _read_database(path: Path) -> Iterator[pa.Table]:
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables "
            "where table_type = 'BASE TABLE'"
        ).fetchall()
        for schema, table in names:
            yield connection.execute(f'from "{schema}"."{table}"').to_arrow_table()


def _dump(path: Path) -> bytes:
    """Return the pages of a SQLite database, with what its journal has; else the file's bytes."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.serialize()
    except sqlite3.Error:
        return path.read_bytes()
