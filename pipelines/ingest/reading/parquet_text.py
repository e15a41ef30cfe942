"""Parquet: typed columns back to text, so that one parser judges every format."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected
from pipelines.ingest.reading.csv_text import check_names
from pipelines.ingest.reading.files import check_unchanged
from pipelines.ingest.reading.text_table import as_json, text_table

BATCH = 65_536
"""Rows decoded together."""


def parquet_texts(
    connection: duckdb.DuckDBPyConnection, contract: Contract, path: Path, sha256: str, file: int
) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file as text (`text_schema`); `line` is the row, from 1.

    Raises:
        FileRejected: It is no Parquet file, or its columns are not those of the contract.
    """
    check_unchanged(path, sha256)
    try:
        with pq.ParquetFile(path) as parquet:
            check_names(contract, tuple(parquet.schema_arrow.names))
            line = 1
            for batch in parquet.iter_batches(BATCH):
                yield _texts(connection, contract, pa.Table.from_batches([batch]), file, line)
                line += batch.num_rows
    except (pa.ArrowException, OSError):
        raise FileRejected(
            "parquet", "it is a truncated or damaged Parquet file; send it again, whole"
        ) from None


def rows_of(path: Path) -> int:
    """Return how many rows the file says that it has; 0 where it cannot be read."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _texts(
    connection: duckdb.DuckDBPyConnection, contract: Contract, batch: pa.Table, file: int, line: int
) -> pa.Table:
    names = [name for name in batch.schema.names if name in contract.names]
    known = {name: _text(name, batch[name]) for name in names}
    unknown = batch.drop_columns(names)
    rows = batch.num_rows
    columns = known | {
        "task": pa.array(np.full(rows, file, np.int32)),
        "line": pa.array(np.arange(line, line + rows)),
        "received": as_json(connection, pa.table(known)),
    }
    if unknown.num_columns:
        columns["extras"] = as_json(connection, unknown)
    return text_table(contract, columns)


def _text(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return `column` as text that parses back to the same value.

    Raises:
        FileRejected: Its type has no plain text.
    """
    type_ = column.type
    if pa.types.is_dictionary(type_):
        return _text(name, column.cast(type_.value_type))
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return column.cast(pa.timestamp(type_.unit, "UTC")).cast(pa.string())
    if pa.types.is_nested(type_):
        raise FileRejected("type", f"column {name} is {type_}, and a single value is expected")
    return column.cast(pa.string())
