"""Records of a text file into the table `received`, each with its physical line."""

import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from pipelines.core.arrays import IntArray

BLOCK = 8 << 20
"""Bytes that pyarrow reads at once; no record may be longer."""


def load(
    connection: duckdb.DuckDBPyConnection,
    text: Path,
    offset: int,
    names: list[str],
    lines: IntArray,
    parse: pc.ParseOptions,
) -> None:
    """Fill `received` with the records of `text`; those with too many or few fields are set aside.

    Args:
        connection: Where the tables are; `unreadable` is there already.
        text: A file in UTF-8.
        offset: Bytes before its first record.
        names: Of its columns.
        lines: The line of each record (`record_lines`).
        parse: How a record is split into fields.
    """
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
    connection: duckdb.DuckDBPyConnection, faults: list[pc.InvalidRow], lines: IntArray
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
    lines: IntArray,
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    record = 0
    for batch in batches:
        # The reader skips faulty records, so the lines of the rows it gives have gaps there.
        ahead = np.arange(record, record + batch.num_rows + len(faults))
        sound = ahead[~np.isin(ahead, [row.number - 1 for row in faults])][: batch.num_rows]
        record = int(sound[-1]) + 1 if sound.size else record
        yield pa.RecordBatch.from_arrays([_take(lines, sound), *batch.columns], schema=schema)


def _take(lines: IntArray, records: IntArray) -> pa.Array:
    known = records < lines.size
    return pa.array(np.append(lines, 0)[np.where(known, records, -1)], pa.int64(), mask=~known)
