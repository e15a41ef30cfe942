"""Write tables as the files that sources send: CSV, JSON Lines, Parquet, packed or plain."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.simulate.parallel_chunks import in_threads
from pipelines.simulate.world import Columns

FORMATS = ("csv", "csv.gz", "jsonl", "parquet", "jsonl.gz")
ROWS = 131_072
"""Rows of a text file that are written at a time; fixed, because it decides the bytes."""
GZIP_LEVEL = 1
"""The least takes a tenth of the time of the usual one, for files a third larger."""


def format_of(position: int) -> str:
    """Return the format in which a source of this position sends its files."""
    return FORMATS[position % len(FORMATS)]


def to_arrow(columns: Columns, whole: tuple[str, ...] = ()) -> pa.Table:
    """Return columns as a table in which missing values are null.

    Args:
        columns: Empty text, NaN and NaT are missing; moments are UTC.
        whole: Columns of floats that hold whole numbers.
    """
    arrays = {}
    for name, values in columns.items():
        if values.dtype.kind == "S":
            arrays[name] = _characters(values)
        elif values.dtype.kind == "U":
            arrays[name] = pa.array(values, pa.string(), mask=values == "")
        elif values.dtype.kind == "M":
            is_date = values.dtype == np.dtype("datetime64[D]")
            arrays[name] = pa.array(values, pa.date32() if is_date else pa.timestamp("s", "UTC"))
        else:
            arrays[name] = pa.array(values, from_pandas=values.dtype.kind == "f")
    table = pa.table(arrays)
    for name in whole:
        table = table.set_column(
            table.schema.get_field_index(name), name, table[name].cast(pa.int64())
        )
    return table


def with_same(table: pa.Table, texts: Mapping[str, str]) -> pa.Table:
    """Return `table` with more columns that hold the same text in each row."""
    for name, text in texts.items():
        table = table.append_column(name, pa.repeat(pa.scalar(str(text)), table.num_rows))
    return table


def _characters(texts: NDArray[np.bytes_]) -> pa.Array:
    """Return ASCII texts that all have the full width of their type, none of them missing."""
    width = texts.dtype.itemsize
    ends = np.arange(0, (texts.size + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(
        texts.size, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(texts))
    )


def as_text(table: pa.Table, moment: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> pa.Table:
    """Return `table` with every value as text; `moment` writes those that are timestamps."""
    return pa.table(
        {
            name: moment(table[name])
            if pa.types.is_timestamp(table.schema.field(name).type)
            else table[name].cast(pa.string())
            for name in table.column_names
        }
    )


def utc(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return moments as ISO 8601 in UTC."""
    return iso(moments, timedelta(), "Z")


def iso(moments: pa.ChunkedArray, ahead: timedelta, offset: str) -> pa.ChunkedArray:
    """Return moments as ISO 8601 in a zone so far ahead of UTC, which writes its offset so."""
    # Ten times as fast as Arrow's strftime.
    local = pc.add(moments.cast(pa.timestamp("s")), pa.scalar(ahead, pa.duration("s")))
    day, clock = local.cast(pa.date32()), local.cast(pa.time32("s"))
    return pc.binary_join_element_wise(
        day.cast(pa.string()), "T", clock.cast(pa.string()), offset, ""
    )


def land(table: pa.Table, folder: Path, name: str, form: str, threads: int = 1) -> None:
    """Write `table` as `folder/name.form`: beside, then renamed, so that no half file is seen.

    Text is written, and packed, `ROWS` at a time: a long file isn't held whole, and threads share
    it. A gzip file may be several one after the other (RFC 1952).
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{form}"
    part = path.with_name(f"{path.name}.part")
    if form == "parquet":
        pq.write_table(table, part, compression="zstd")
    else:
        begins = range(0, max(table.num_rows, 1), ROWS)
        texts = in_threads(threads, lambda begin: _text(table, begin, form), begins)
        with part.open("wb") as file:
            file.writelines(texts)
    part.replace(path)


def gzipped(text: pa.Buffer | bytes) -> pa.Buffer:
    """Return `text` as a gzip file, quickly packed.

    Arrow's own gzip: no clock in the header, and the same library on every machine. A codec is
    no two threads' at a time.
    """
    return pa.Codec("gzip", compression_level=GZIP_LEVEL).compress(text)


def _text(table: pa.Table, begin: int, form: str) -> pa.Buffer:
    """Return `ROWS` rows as they stand in the file, the header before the first of them."""
    rows = table.slice(begin, ROWS)
    text = _csv(rows, has_header=begin == 0) if form.startswith("csv") else _json_lines(rows)
    return gzipped(text) if form.endswith(".gz") else text


def _csv(table: pa.Table, *, has_header: bool) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    options = pcsv.WriteOptions(include_header=has_header, quoting_style="needed")
    pcsv.write_csv(as_text(table, utc), stream, options)
    return stream.getvalue()


def _json_lines(table: pa.Table) -> pa.Buffer:
    """Return one object a row; a null has no key."""
    pairs: list[pa.ChunkedArray] = []
    pair: tuple[str | pa.ChunkedArray, ...]
    for name in table.column_names:
        values = table[name]
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            pair = (f'"{name}":', values.cast(pa.string()))
        else:
            text = as_text(table.select([name]), utc)[name]
            for mark in ("\\", '"'):
                text = pc.replace_substring(text, mark, "\\" + mark)
            pair = (f'"{name}":"', text, '"')
        pairs.append(pc.binary_join_element_wise(*pair, ""))
    rows = pc.binary_join_element_wise(*pairs, ",", null_handling="skip")
    lines = pc.binary_join_element_wise("{", rows, "}\n", "")
    if isinstance(lines, pa.ChunkedArray):
        lines = lines.combine_chunks()
    # The texts lie one after the other, each with its line break: together they are the file.
    length = pc.sum(pc.binary_length(lines)).as_py() or 0
    return lines.buffers()[2][:length]
