"""Erase persons from texts: CSV files of the outbox by row, any other text by word."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.deliveries.lead_file import BOM
from pipelines.ingest.reading.record_splitter import RecordSplitter
from pipelines.ingest.reading.records import Records
from pipelines.ingest.reading.text_formats import split_fields
from pipelines.persons.places import Place
from pipelines.persons.subjects import Subjects
from pipelines.persons.tables import Lines, edit_rows, find_hits

FIELD = re.compile(rb'(?:^|(?<=,))("(?:[^"]|"")*"|[^",]*)(?=,|$)')
"""A field of a CSV record, with its quotes."""

NO_LINES = Lines(pa.array([], pa.string()), pa.array([], pa.string()))


def rewrite_csv(
    path: Path, target: Path, place: Place, subjects: Subjects, channel: str = ""
) -> int:
    """Write a CSV file that went out without the persons; return the number of changed rows.

    Args:
        path: The file.
        target: Where it is written; nothing is, if no row changes.
        place: How a row of a person is treated.
        subjects: The persons.
        channel: The channel of every row, if the file doesn't name it.
    """
    data = path.read_bytes()
    mark = BOM if data.startswith(BOM) else b""
    header, rows = _split(data.removeprefix(mark))
    if not len(rows):
        return 0
    names = [name.strip() for name in next(csv.reader([header.decode()]))]
    table, misfits = split_fields(rows, names, empty_is_null=True)
    if misfits:
        return 0  # no file of ours; what it has is found by its words
    if channel and "channel_id" not in names:
        table = table.append_column("channel_id", pa.array([channel] * table.num_rows))
    hits = find_hits(table, place, subjects, NO_LINES)
    changed = np.flatnonzero(hits.any)
    if not len(changed):
        return 0
    before = table.select(names).take(pa.array(changed)).to_pylist()
    after: list[dict[str, str | None] | None] = [None] * len(changed)
    if place.treatment != "remove":
        edited = edit_rows(table, place, subjects, hits).select(names)
        after = edited.take(pa.array(changed)).to_pylist()
    pieces, position = [mark, header], 0
    for number, old, new in zip(changed.tolist(), before, after, strict=True):
        pieces.append(rows.data[position : rows.offsets[number]])
        if new is not None:
            pieces.append(_write_record(rows.record(number), [*old.values()], [*new.values()]))
        position = int(rows.offsets[number + 1])
    target.write_bytes(b"".join([*pieces, rows.data[position:]]))
    return len(changed)


def rewrite_words(path: Path, target: Path, subjects: Subjects) -> int:
    """Write a text with a token in place of each word of a person; return the number of words."""
    data = path.read_bytes()
    found = subjects.find_words(data)
    if found:
        target.write_bytes(subjects.replace_words(data))
    return len(found)


def replace_in_json(value: object, subjects: Subjects) -> object:
    """Return a value of JSON with a token in place of each word of a person."""
    return json.loads(subjects.replace_words(json.dumps(value).encode()))


def has_words(path: Path, subjects: Subjects) -> bool:
    """Return whether a text has a word of a person."""
    return bool(subjects.find_words(path.read_bytes()))


def _split(data: bytes) -> tuple[bytes, Records]:
    """Return the header and the records of a well-formed CSV file."""
    parts = list(RecordSplitter(quoted=True).split([data]))
    joined = b"".join(part.data for part in parts)
    lengths = np.concatenate([np.diff(part.offsets) for part in parts]) if parts else np.array([])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    records = Records(joined, offsets, np.arange(1, len(lengths) + 1))
    if not len(records):
        return data, records
    return records.record(0), records.without_header()


def _write_record(record: bytes, before: list[str | None], after: list[str | None]) -> bytes:
    """Return a record with other values; values that stay, and quotes, are written as they were."""
    end = record[len(record.rstrip(b"\r\n")) :]
    fields = FIELD.findall(record.removesuffix(end))
    written = [
        field if old == new else _quote(new, is_quoted=field.startswith(b'"'))
        for field, old, new in zip(fields, before, after, strict=True)
    ]
    return b",".join(written) + end


def _quote(value: str | None, *, is_quoted: bool) -> bytes:
    if value is None:
        return b""
    text = value.encode()
    return b'"' + text.replace(b'"', b'""') + b'"' if is_quoted else text
