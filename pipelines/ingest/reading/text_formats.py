"""CSV, JSON Lines and Parquet as tables of text, so that one parser checks every format."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from expectations.contracts import Column, Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.errors import FileRejected
from pipelines.core.publishing import open_parquet
from pipelines.ingest.reading.column_names import check_misspelt
from pipelines.ingest.reading.files import check_unchanged
from pipelines.ingest.reading.records import RecordBuffer, Records, RejectedRecord
from pipelines.ingest.reading.text_table import (
    UNTYPABLE,
    make_text_table,
    query_rows,
    rows_as_json,
)

Header = tuple[str, ...]
Rejects = list[tuple[int, RejectedRecord]]
"""Rejected records, each with the position of its file."""

PORTION = 1 << 20
"""Bytes of CSV records that are split into fields together."""

PARQUET_BATCH = 65_536
"""Rows of a Parquet file that are decoded together."""

NESTED_TEXT = r"^[\[{]"
"""Text that can come from an object or an array; only of such texts the JSON type is looked up."""

FRACTION_TEXT = r"^-?[0-9]+\.|^-?[0-9.]+[eE]"
"""Text that can come from a fraction, which no text column takes."""

KEYS_OF_OBJECTS = r"""
    select
        case
            when not regexp_matches(received, '^[ \t\r\n]*[{]') then null
            when not json_valid(received) then null
            else cast(to_json(json_keys(received)) as varchar)
        end as keys
    from received
"""
"""A `case`, because DuckDB may evaluate both sides of an `or`, and fails on invalid JSON. An
object is known by its brace: `json_type` would read the whole line once more."""


def parse_header(contract: Contract, record: bytes) -> Header:
    """Return the names in the header record.

    Raises:
        FileRejected: A name is repeated, a required column is missing or an optional one that
            restricts is misspelt. No name is quoted: in a file without a header they would be the
            values of the first row.
    """
    lines = record.decode("utf-8").splitlines(keepends=True)
    header = tuple(name.strip() for name in next(csv.reader(lines)))
    check_columns(contract, header)
    return header


OTHER_SEPARATORS = {";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""Separators that spreadsheets and databases write in place of a comma, with their names."""


def check_columns(contract: Contract, names: Header) -> None:
    """Reject a file without a required column or with a repeated one; others may be unknown."""
    if missing := [name for name in contract.required if name not in names]:
        raise FileRejected(
            "header",
            f"required columns are missing: {', '.join(missing)}; the header has "
            f"{len(set(names) & set(contract.names))} columns of the {contract.feed} contract and "
            f"{len(set(names) - set(contract.names))} others"
            + _describe_separator(contract, names),
        )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        known = [name for name in repeated if name in contract.names]
        raise FileRejected(
            "header",
            f"{len(repeated)} column names are repeated in the header"
            + (f", among them: {', '.join(known)}" if known else ""),
        )
    check_misspelt(contract, names)


def _describe_separator(contract: Contract, names: Header) -> str:
    """Return what to say of a header whose names another separator parts; empty if none does."""
    for separator, word in OTHER_SEPARATORS.items():
        parts = {part.strip(' "') for name in names for part in name.split(separator)}
        if parts.issuperset(contract.required):
            return f"; the separator looks like a {word} and must be a comma"
    return ""


def read_csv_records(
    connection: duckdb.DuckDBPyConnection, contract: Contract, header: Header, buffer: RecordBuffer
) -> tuple[pa.Table, Rejects]:
    """Return the rows of CSV records under one header as text (`text_schema`).

    Records with too many or too few fields are rejected.
    """
    fields, misfits = split_fields(buffer, header)
    rejected = [
        buffer.reject(
            row,
            "fields",
            f"the row has {count} fields and the header names {len(header)}; a separator in a "
            "value needs quotes, and a new column a new file with its own header",
        )
        for row, count in misfits
    ]
    is_read = np.ones(len(buffer), bool)
    is_read[[row for row, _ in misfits]] = False
    known = {name: fields[name] for name in header if name in contract.names}
    unknown = [name for name in header if name not in contract.names]
    extras = {"extras": rows_as_json(connection, fields.select(unknown))} if unknown else {}
    lineage = buffer.lineage().filter(pa.array(is_read))
    columns = known | extras | {name: lineage[name] for name in lineage.schema.names}
    return make_text_table(contract, columns), rejected


def split_fields(
    records: Records | RecordBuffer,
    names: Sequence[str],
    delimiter: str = ",",
    *,
    empty_is_null: bool = False,
) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Split CSV records into columns of text.

    They are split in portions that fit into the processor's cache, which takes half the time.

    Returns:
        The columns of the records with as many fields as `names`; and of each other record its
        row (from 0) and its number of fields.
    """
    misfits: list[tuple[int, int]] = []
    first = 0

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        misfits.append((first + row.number - 1, row.actual_columns))
        return "skip"

    data, tables = pa.py_buffer(records.data), []
    for first, end in pairwise(_cut_portions(records.offsets)):
        start = int(records.offsets[first])
        size = int(records.offsets[end]) - start
        fields = pyarrow.csv.read_csv(
            pa.BufferReader(data.slice(start, size)),
            # One block: rows are then numbered from 1, and no field is cut at the end of a block.
            pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=size + 1),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
            ),
            pyarrow.csv.ConvertOptions(
                check_utf8=False,  # the splitter has checked it
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=empty_is_null,
                quoted_strings_can_be_null=empty_is_null,
            ),
        )
        tables.append(fields)
    return pa.concat_tables(tables), misfits


def _cut_portions(offsets: IntArray) -> list[int]:
    """Return the first record of each portion of about `PORTION` bytes, then their number."""
    records = offsets.size - 1
    starts = np.searchsorted(offsets, np.arange(0, offsets[-1], PORTION), side="right") - 1
    return [*np.unique(starts).tolist(), records]


def read_json_records(
    connection: duckdb.DuckDBPyConnection, contract: Contract, buffer: RecordBuffer
) -> tuple[pa.Table, Rejects]:
    """Return the rows of JSON lines as text (`text_schema`).

    Lines that are no object, or repeat a key, are rejected.
    """
    lineage = buffer.lineage()
    is_invalid, has_unknown = _judge_keys(
        contract, query_rows(connection, KEYS_OF_OBJECTS, lineage)
    )
    rejected = [
        buffer.reject(row, "json", "the line is no JSON object whose keys differ")
        for row in np.flatnonzero(is_invalid).tolist()
    ]
    valid = lineage.filter(pa.array(~is_invalid))
    columns = {name: valid[name] for name in valid.schema.names}
    columns |= _read_json_values(connection, contract, valid)
    columns["extras"] = _replace(
        pa.chunked_array([pa.nulls(valid.num_rows, pa.string())]),
        has_unknown[~is_invalid],
        lambda rows: query_rows(connection, _extras_sql(contract), valid.filter(rows)),
    )
    return make_text_table(contract, columns), rejected


def _judge_keys(contract: Contract, objects: pa.Table) -> tuple[BoolArray, BoolArray]:
    """Return of each line whether it is no object whose keys differ, and whether a key is unknown.

    Args:
        contract: The names that are known.
        objects: `keys` of each line, by `KEYS_OF_OBJECTS`. Most lines of a file have the same.
    """
    encoded = objects["keys"].combine_chunks().dictionary_encode()
    known = set(contract.names)
    lists = [json.loads(keys) for keys in encoded.dictionary.to_pylist()]
    # The last entry is the one of lines without keys.
    is_invalid = np.array([len(keys) != len(set(keys)) for keys in lists] + [True])
    has_unknown = np.array([not known.issuperset(keys) for keys in lists] + [False])
    index = encoded.indices.fill_null(len(lists)).to_numpy()
    return is_invalid[index], has_unknown[index]


def _read_json_values(
    connection: duckdb.DuckDBPyConnection, contract: Contract, valid: pa.Table
) -> dict[str, pa.ChunkedArray]:
    """Return each column of the objects in `valid` as text; a nested value becomes untypable."""
    structure = json.dumps(dict.fromkeys(contract.names, "VARCHAR"))
    sql = f"select unnest(from_json(received, '{structure}')) from received"
    values = query_rows(connection, sql, valid)
    return {
        column.name: _replace(
            values[column.name],
            _match(values[column.name], _odd_text(column)),
            partial(_look_closer, connection, column, valid),
        )
        for column in contract.columns
    }


def _odd_text(column: Column) -> str:
    """Return the pattern of texts whose JSON type must be looked up."""
    return f"{NESTED_TEXT}|{FRACTION_TEXT}" if column.type == "text" else NESTED_TEXT


def _match(texts: pa.ChunkedArray, pattern: str) -> BoolArray:
    """Return which of `texts` match `pattern`; each distinct one is looked at once."""
    encoded = texts.combine_chunks().dictionary_encode()
    matches = pc.match_substring_regex(encoded.dictionary, pattern).to_numpy(zero_copy_only=False)
    index = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()
    found: BoolArray = np.append(matches, False)[index]
    return found


def _look_closer(
    connection: duckdb.DuckDBPyConnection, column: Column, valid: pa.Table, rows: pa.Array
) -> pa.Table:
    """Return the values of `column` in some rows, by their JSON types."""
    structure = json.dumps({column.name: "VARCHAR"})
    sql = f"""
        with objects as (select received, from_json(received, '{structure}') as v from received)
        select {_json_value(column)} from objects
    """
    return query_rows(connection, sql, valid.filter(rows))


def _replace(
    texts: pa.ChunkedArray, is_replaced: BoolArray, read: Callable[[pa.Array], pa.Table]
) -> pa.ChunkedArray:
    """Return `texts` with the one column of `read(rows)` in the rows that are replaced."""
    if not is_replaced.any():
        return texts
    rows = pa.array(is_replaced)
    values = read(rows).column(0).cast(pa.string()).combine_chunks()
    return pc.replace_with_mask(texts.cast(pa.string()), rows, values)


def _extras_sql(contract: Contract) -> str:
    without = json.dumps(dict.fromkeys(contract.names))
    return f"""
        select nullif(cast(json_merge_patch(received, '{without}') as varchar), '{{}}')
        from received
    """


def _json_value(column: Column) -> str:
    """Return the SQL of a column's value; a nested value becomes untypable.

    A fraction in a text column is untypable too: DuckDB has read it as a binary number, so its
    text may differ from the text that was sent.
    """
    value, path = f"v.{column.name}", f"'$.{column.name}'"
    kinds = "'OBJECT', 'ARRAY', 'DOUBLE'" if column.type == "text" else "'OBJECT', 'ARRAY'"
    list_case = (
        f"when json_type(received, {path}) = 'ARRAY' "
        f"then array_to_string(from_json({value}, '[\"VARCHAR\"]'), '|') "
        if column.type == "list"
        else ""
    )
    return (
        f"case {list_case}"
        f"when json_type(received, {path}) in ({kinds}) then chr({ord(UNTYPABLE)}) "
        f"else {value} end"
    )


def read_parquet_rows(
    connection: duckdb.DuckDBPyConnection, contract: Contract, path: Path, sha256: str, file: int
) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file as text (`text_schema`); `line` is the row, from 1.

    Raises:
        FileRejected: It is no Parquet file, or its columns do not fit the contract.
    """
    check_unchanged(path, sha256)
    try:
        with open_parquet(path) as parquet:
            check_columns(contract, tuple(parquet.schema_arrow.names))
            line = 1
            for batch in parquet.iter_batches(PARQUET_BATCH):
                yield _parquet_text(
                    connection, contract, pa.Table.from_batches([batch]), file, line
                )
                line += batch.num_rows
    except MemoryError:
        raise  # Arrow's is an ArrowException as well, and no fault of the file
    except (pa.ArrowException, OSError):
        raise FileRejected(
            "parquet", "it is a truncated or damaged Parquet file; send it again, whole"
        ) from None


def count_parquet_rows(path: Path) -> int:
    """Return the number of rows by the file's metadata; 0 where it cannot be read."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _parquet_text(
    connection: duckdb.DuckDBPyConnection, contract: Contract, batch: pa.Table, file: int, line: int
) -> pa.Table:
    names = [name for name in batch.schema.names if name in contract.names]
    known = {name: _column_as_text(contract[name], batch[name]) for name in names}
    unknown = batch.drop_columns(names)
    rows = batch.num_rows
    columns = known | {
        "task": pa.array(np.full(rows, file, np.int32)),
        "line": pa.array(np.arange(line, line + rows)),
        "received": rows_as_json(connection, pa.table(known)),
    }
    if unknown.num_columns:
        columns["extras"] = rows_as_json(connection, unknown)
    return make_text_table(contract, columns)


def _column_as_text(contracted: Column, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return `column` as text that parses to the same value.

    Raises:
        FileRejected: Its type is nested, or it holds binary numbers where text is required.
    """
    name, type_ = contracted.name, column.type
    if pa.types.is_dictionary(type_):
        return _column_as_text(contracted, column.cast(type_.value_type))
    if pa.types.is_floating(type_) and contracted.type in {"text", "list"}:
        return _mark_floats(contracted, column)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return column.cast(pa.timestamp(type_.unit, "UTC")).cast(pa.string())
    if pa.types.is_nested(type_):
        raise FileRejected("type", f"column {name} is {type_}, and a single value is expected")
    return column.cast(pa.string())


def _mark_floats(contracted: Column, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the binary numbers of a text column as untypable values, NaN as missing ones.

    As in JSON: the text of a binary number may differ from the text that was meant. An empty column
    of type float, as a data frame writes it, is an empty column of text.

    Raises:
        FileRejected: The column is required, so no row of the file could be loaded.
    """
    is_number = pc.and_(pc.is_valid(column), pc.invert(pc.is_nan(column)))
    is_number = pc.fill_null(is_number, fill_value=False)
    if contracted.required and pc.any(is_number).as_py():
        raise FileRejected(
            "type",
            f"column {contracted.name} is {column.type}, and text is required: a binary number has "
            "lost digits of long ids; write the column as text",
        )
    return pc.if_else(is_number, UNTYPABLE, pa.scalar(None, pa.string()))
