"""Write tables as the files that sources send: CSV, JSON Lines or Parquet, text also as gzip."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.simulate.world import Columns, map_in_threads

FORMATS = ("csv", "csv.gz", "jsonl", "parquet", "jsonl.gz")
ROWS_PER_BLOCK = 131_072
"""Rows of a text file that are formatted and compressed together; they decide the bytes."""
GZIP_LEVEL = 1
"""The lowest level: a tenth of the default's time, for files a third larger."""


def format_of(position: int) -> str:
    """Return the file format of the source at this position."""
    return FORMATS[position % len(FORMATS)]


def to_arrow(columns: Columns, whole: tuple[str, ...] = ()) -> pa.Table:
    """Return columns as an Arrow table with nulls for missing values.

    Args:
        columns: Empty text, NaN and NaT are missing values; times are UTC.
        whole: Columns of floats that hold whole numbers.
    """
    arrays = {}
    for name, values in columns.items():
        if values.dtype.kind == "S":
            arrays[name] = _fixed_width_texts(values)
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


def add_constants(table: pa.Table, texts: Mapping[str, str]) -> pa.Table:
    """Return `table` with columns that hold the same text in each row."""
    for name, text in texts.items():
        table = table.append_column(name, pa.repeat(pa.scalar(str(text)), table.num_rows))
    return table


def _fixed_width_texts(texts: NDArray[np.bytes_]) -> pa.Array:
    """Return ASCII texts, all of the full width of their type and none missing, as an array."""
    width = texts.dtype.itemsize
    ends = np.arange(0, (texts.size + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(
        texts.size, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(texts))
    )


def format_table(
    table: pa.Table, format_time: Callable[[pa.ChunkedArray], pa.ChunkedArray]
) -> pa.Table:
    """Return `table` with every value as text; `format_time` formats the timestamps."""
    return pa.table(
        {
            name: format_time(table[name])
            if pa.types.is_timestamp(table.schema.field(name).type)
            else table[name].cast(pa.string())
            for name in table.column_names
        }
    )


def format_utc(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as ISO 8601 in UTC."""
    return format_iso(moments, timedelta(), "Z")


def format_iso(moments: pa.ChunkedArray, ahead: timedelta, offset: str) -> pa.ChunkedArray:
    """Return times as ISO 8601 in a zone `ahead` of UTC, with `offset` as its suffix."""
    # Ten times as fast as Arrow's strftime.
    local = pc.add(moments.cast(pa.timestamp("s")), pa.scalar(ahead, pa.duration("s")))
    day, clock = local.cast(pa.date32()), local.cast(pa.time32("s"))
    return pc.binary_join_element_wise(
        day.cast(pa.string()), "T", clock.cast(pa.string()), offset, ""
    )


def write_feed_file(
    table: pa.Table, folder: Path, name: str, file_format: str, threads: int = 1
) -> None:
    """Write `table` as `folder/name.format` under a temporary name, then rename it.

    Text is formatted and compressed in blocks of `ROWS_PER_BLOCK` rows, which threads share. A gzip
    file may have several members (RFC 1952).
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{file_format}"
    part = path.with_name(f"{path.name}.part")
    if file_format == "parquet":
        pq.write_table(table, part, compression="zstd")
    else:
        begins = range(0, max(table.num_rows, 1), ROWS_PER_BLOCK)
        texts = map_in_threads(threads, lambda begin: _block(table, begin, file_format), begins)
        with part.open("wb") as file:
            file.writelines(texts)
    part.replace(path)


def compress_gzip(text: pa.Buffer | bytes) -> pa.Buffer:
    """Return `text` as a gzip member.

    Arrow's own gzip writes no time into the header and is the same library on every machine. A
    codec is not thread-safe, so each call has its own.
    """
    return pa.Codec("gzip", compression_level=GZIP_LEVEL).compress(text)


def _block(table: pa.Table, begin: int, file_format: str) -> pa.Buffer:
    """Return `ROWS_PER_BLOCK` rows as bytes of the file, the first block with the header."""
    rows = table.slice(begin, ROWS_PER_BLOCK)
    is_csv = file_format.startswith("csv")
    text = _csv(rows, has_header=begin == 0) if is_csv else _json_lines(rows)
    return compress_gzip(text) if file_format.endswith(".gz") else text


def _csv(table: pa.Table, *, has_header: bool) -> pa.Buffer:
    stream = pa.BufferOutputStream()
    options = pcsv.WriteOptions(include_header=has_header, quoting_style="needed")
    pcsv.write_csv(format_table(table, format_utc), stream, options)
    return stream.getvalue()


def _json_lines(table: pa.Table) -> pa.Buffer:
    """Return one object a row; nulls are omitted."""
    pairs: list[pa.ChunkedArray] = []
    pair: tuple[str | pa.ChunkedArray, ...]
    for name in table.column_names:
        values = table[name]
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            pair = (f'"{name}":', values.cast(pa.string()))
        else:
            text = format_table(table.select([name]), format_utc)[name]
            for mark in ("\\", '"'):
                text = pc.replace_substring(text, mark, "\\" + mark)
            pair = (f'"{name}":"', text, '"')
        pairs.append(pc.binary_join_element_wise(*pair, ""))
    rows = pc.binary_join_element_wise(*pairs, ",", null_handling="skip")
    lines = pc.binary_join_element_wise("{", rows, "}\n", "")
    if isinstance(lines, pa.ChunkedArray):
        lines = lines.combine_chunks()
    # The array's data buffer holds the lines one after another: it is the file.
    length = pc.sum(pc.binary_length(lines)).as_py() or 0
    return lines.buffers()[2][:length]
