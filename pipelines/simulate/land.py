"""Write tables as the files that sources send: CSV, JSON Lines, Parquet, packed or plain."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from pipelines.simulate.world import Columns

FORMATS = ("csv", "csv.gz", "jsonl", "parquet", "jsonl.gz")


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
        if values.dtype.kind == "U":
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
    return pc.strftime(moments, "%Y-%m-%dT%H:%M:%SZ")


def land(table: pa.Table, folder: Path, name: str, form: str) -> None:
    """Write `table` as `folder/name.form`: beside, then renamed, so that no half file is seen."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.{form}"
    part = path.with_name(f"{path.name}.part")
    if form == "parquet":
        pq.write_table(table, part, compression="zstd")
    else:
        # Arrow's own gzip: no clock in the header, and the same library on every machine.
        packed = "gzip" if form.endswith(".gz") else None
        with pa.output_stream(part, compression=packed) as stream:
            if form.startswith("csv"):
                options = pcsv.WriteOptions(quoting_style="needed")
                pcsv.write_csv(as_text(table, utc), stream, options)
            else:
                stream.write(_json_lines(table))
    part.replace(path)


def _json_lines(table: pa.Table) -> bytes:
    """Return one object a row; a null has no key."""
    pairs = []
    for name in table.column_names:
        values = table[name]
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            text = values.cast(pa.string())
        else:
            text = as_text(table.select([name]), utc)[name]
            for mark in ("\\", '"'):
                text = pc.replace_substring(text, mark, "\\" + mark)
            text = pc.binary_join_element_wise('"', text, '"', "")
        pairs.append(pc.binary_join_element_wise(f'"{name}":', text, ""))
    rows = pc.binary_join_element_wise(*pairs, ",", null_handling="skip")
    lines = pc.binary_join_element_wise("{", rows, "}\n", "")
    if isinstance(lines, pa.ChunkedArray):
        lines = lines.combine_chunks()
    # The texts lie one after the other, each with its line break: together they are the file.
    length = pc.sum(pc.binary_length(lines)).as_py() or 0
    return bytes(lines.buffers()[2][:length])
