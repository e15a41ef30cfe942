"""The table of text that every format is read into, before anything is parsed."""

from collections.abc import Iterable

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.errors import IntegrityError

TRIMMED = " \t\n\r\v\f\u00a0\u3000"
"""White space that is trimmed around a value."""
WHITE_SPACE = "' \t\n\r\v\f' || chr(160) || chr(12288)"
"""The same as SQL, in ASCII: DuckDB's Python layer reads other queries character by character."""

UNTYPABLE = "\0"
"""Marks a value that no type accepts, such as a nested one; no line of text can hold it."""


def text_schema(contract: Contract) -> pa.Schema:
    """Return the contract's columns as text, then `extras`, `task`, `line` and `received`.

    `task` is the position of the file in the shard's list; `line` its physical line, of a
    Parquet file the row, both from 1; `received` the row as it was received.
    """
    columns = [(name, pa.string()) for name in contract.names]
    lineage = [("extras", pa.string()), ("task", pa.int32()), ("line", pa.int64())]
    return pa.schema([*columns, *lineage, ("received", pa.string())])


def make_text_table(contract: Contract, columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Return `columns` by `text_schema`; a column that was not received is null."""
    rows = len(columns["task"])
    schema = text_schema(contract)
    return pa.table(
        [columns.get(name, pa.nulls(rows, type_)) for name, type_ in _fields(schema)], schema=schema
    )


def rows_as_json(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> pa.ChunkedArray:
    """Return each row of `table` as one JSON object without its nulls; null if it has no other."""
    members = ", ".join(
        f"to_json({_literal(field.name)}) || ':' || {_member(f'c{position}', field.type)}"
        for position, field in enumerate(table.schema)
    )
    sql = f"select nullif('{{' || concat_ws(',', {members}) || '}}', '{{}}') as row from received"
    # Renamed, because names that differ in case only are one name to DuckDB.
    renamed = trim_text(table).rename_columns([f"c{n}" for n in range(table.num_columns)])
    return query_rows(connection, sql, renamed)["row"].cast(pa.string())


def query_rows(connection: duckdb.DuckDBPyConnection, sql: str, table: pa.Table) -> pa.Table:
    """Return the result of `sql`, in which `table` is called received, in the order of its rows.

    Raises:
        IntegrityError: DuckDB failed. Its message may quote a row, so it is withheld.
    """
    # DuckDB returns the chunks of an Arrow table in the order in which its threads finish them;
    # with one chunk there is one order.
    connection.register("received", table.combine_chunks())
    try:
        return connection.sql(sql).to_arrow_table()
    except duckdb.OutOfMemoryException:
        raise  # no fault of the program; the message quotes no row
    except duckdb.Error as error:
        raise IntegrityError(
            f"DuckDB failed on {table.num_rows:,} received rows ({type(error).__name__}); its "
            "message is withheld, since it may quote personal data. Nothing of this shard was "
            "published. This is a fault of the program: report it with the landed files."
        ) from None
    finally:
        connection.unregister("received")


def _fields(schema: pa.Schema) -> Iterable[tuple[str, pa.DataType]]:
    return ((field.name, field.type) for field in schema)


def trim_text(table: pa.Table) -> pa.Table:
    """Return `table` without the white space around its texts, ten times faster than DuckDB."""
    for position, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            trimmed = pc.utf8_trim(table[position], characters=TRIMMED)
            table = table.set_column(position, field, trimmed)
    return table


def _value(name: str, type_: pa.DataType) -> str:
    return f"nullif({name}, '')" if pa.types.is_string(type_) else name


def _member(name: str, type_: pa.DataType) -> str:
    """Return SQL of a value as JSON; null of null, and a nested object is without its nulls."""
    value = f"to_json({_value(name, type_)})"
    return f"json_merge_patch('{{}}', {value})" if pa.types.is_nested(type_) else value


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
