"""Parse text to types, by column, in SQL. Text that does not parse is a violation; no repair."""

from functools import cache

import duckdb
import numpy as np
import pyarrow as pa

from expectations.contracts import Column, Contract
from pipelines.core.arrays import IntArray
from pipelines.ingest.reading.text_table import UNTYPABLE, WHITE_SPACE, query_rows
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS

DAY = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
OFFSET = "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?"
WHOLE = "[+-]?[0-9]{1,19}([.]0+)?"
ELEMENTS = f"list_transform(string_split(VALUE, '|'), lambda item: trim(item, {WHITE_SPACE}))"

PARSERS = {
    "text": f"case when not contains(VALUE, chr({ord(UNTYPABLE)})) then VALUE end",
    "list": (
        f"case when not contains(VALUE, chr({ord(UNTYPABLE)})) "
        f"and not list_contains({ELEMENTS}, '') then {ELEMENTS} end"
    ),
    # A cast alone would accept 0x1F, 1_000 and nan, and round 36.5 to a whole number.
    "integer": (
        f"case when regexp_full_match(VALUE, '{WHOLE}') "
        "then try_cast(regexp_replace(VALUE, '[.]0+$', '') as bigint) end"
    ),
    "number": (
        f"case when regexp_full_match(VALUE, '{NUMBER}') and isfinite(try_cast(VALUE as double)) "
        "then try_cast(VALUE as double) end"
    ),
    "boolean": (
        "case when lower(VALUE) in ('true', '1') then true "
        "when lower(VALUE) in ('false', '0') then false end"
    ),
    "date": f"case when regexp_full_match(VALUE, '{DAY}') then try_cast(VALUE as date) end",
    "timestamp": (
        f"case when regexp_full_match(VALUE, '{DAY}[T ]{CLOCK}{OFFSET}') "
        "then try_cast(VALUE as timestamptz) end"
    ),
}
"""SQL of each type; VALUE is the trimmed text."""

REQUIREMENTS = {
    "text": "must be one piece of text without a NUL character (in JSON a string)",
    "list": "must be a list such as a|b without empty elements",
    "integer": "must be a whole number such as 36",
    "number": "must be a finite number such as 1234.5, with a decimal point and nothing between "
    "thousands",
    "boolean": "must be true, false, 1 or 0",
    "date": "must be a date that exists, such as 2026-01-31",
    "timestamp": "must be a time with its offset, such as 2026-01-31T09:30:00+08:00",
}


def parse_columns(
    connection: duckdb.DuckDBPyConnection, contract: Contract, text: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Parse the columns of `contract` to their types.

    White space around a value is trimmed, and an empty value is null.

    Args:
        text: Rows by `text_schema`.

    Returns:
        The typed columns (`contract.received_schema`), with the rows in the same order; and the
        violations of the rule `type`, whose values are null in the typed columns.
    """
    parsed = query_rows(connection, _parse_sql(contract), text)
    typed = parsed.select(contract.names).cast(contract.received_schema)
    violations = [VIOLATIONS.empty_table()]
    for column in contract.columns:
        rows = np.flatnonzero(parsed[f"{column.name} invalid"].to_numpy())
        if rows.size:
            violations.append(_make_violations(column, rows))
    return typed, pa.concat_tables(violations)


@cache
def _parse_sql(contract: Contract) -> str:
    trimmed = ", ".join(
        f"nullif(trim({name}, {WHITE_SPACE}), '') as {name}" for name in contract.names
    )
    parses = ",\n".join(
        f"{PARSERS[column.type].replace('VALUE', column.name)} as {_typed(column)}"
        for column in contract.columns
    )
    selected = ",\n".join(
        f"{_typed(column)} as {column.name}, "
        f'{column.name} is not null and {_typed(column)} is null as "{column.name} invalid"'
        for column in contract.columns
    )
    return f"""
        with trimmed as (select {trimmed} from received),
        parsed as (select *, {parses} from trimmed)
        select {selected} from parsed
    """


def _typed(column: Column) -> str:
    return f'"{column.name} typed"'


def _make_violations(column: Column, rows: IntArray) -> pa.Table:
    shared = {
        "column": column.name,
        "rule": "type",
        "severity": column.severity,
        "message": f"{column.name} {REQUIREMENTS[column.type]}",
    }
    repeated = {name: pa.repeat(value, rows.size) for name, value in shared.items()}
    return pa.table({"row": rows, **repeated}, schema=VIOLATIONS)
