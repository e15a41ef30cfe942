"""Text to types, by column, in SQL. Nothing is repaired: what doesn't parse is a finding."""

from functools import cache

import duckdb
import numpy as np
import pyarrow as pa

from expectations.contracts import Column, Contract
from pipelines.ingest.reading.text_table import BLANKS, UNTYPABLE, query
from pipelines.ingest.validation.great_expectations_gate import FINDINGS

DAY = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
OFFSET = "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?"
WHOLE = "[+-]?[0-9]{1,19}([.]0+)?"
ELEMENTS = f"list_transform(string_split(VALUE, '|'), lambda item: trim(item, {BLANKS}))"

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

PROMISES = {
    "text": "must be one piece of text without a NUL character (in JSON a string)",
    "list": "must be a list such as a|b without empty elements",
    "integer": "must be a whole number such as 36",
    "number": "must be a finite number such as 1234.5, with a decimal point and nothing between "
    "thousands",
    "boolean": "must be true, false, 1 or 0",
    "date": "must be a date that exists, such as 2026-01-31",
    "timestamp": "must be a time with its offset, such as 2026-01-31T09:30:00+08:00",
}


def parsed(
    connection: duckdb.DuckDBPyConnection, contract: Contract, text: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Give the columns of `contract` their types.

    White space around a value is trimmed and an empty value is null.

    Args:
        text: Rows by `text_schema`.

    Returns:
        The typed columns (`contract.received_schema`), in the same order; and the findings (as
        `quality.Verdict.findings`, rule `type`) of values that are no such type, which are null
        in the typed columns.
    """
    answer = query(connection, _sql(contract), text)
    typed = answer.select(contract.names).cast(contract.received_schema)
    findings = [FINDINGS.empty_table()]
    for column in contract.columns:
        rows = np.flatnonzero(answer[f"{column.name} broken"].to_numpy())
        if rows.size:
            findings.append(_findings(column, rows))
    return typed, pa.concat_tables(findings)


@cache
def _sql(contract: Contract) -> str:
    trimmed = ", ".join(f"nullif(trim({name}, {BLANKS}), '') as {name}" for name in contract.names)
    parses = ",\n".join(
        f"{PARSERS[column.type].replace('VALUE', column.name)} as {_typed(column)}"
        for column in contract.columns
    )
    shown = ",\n".join(
        f"{_typed(column)} as {column.name}, "
        f'{column.name} is not null and {_typed(column)} is null as "{column.name} broken"'
        for column in contract.columns
    )
    return f"""
        with trimmed as (select {trimmed} from received),
        parsed as (select *, {parses} from trimmed)
        select {shown} from parsed
    """


def _typed(column: Column) -> str:
    return f'"{column.name} typed"'


def _findings(column: Column, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Table:
    same = {
        "column": column.name,
        "rule": "type",
        "severity": column.severity,
        "message": f"{column.name} {PROMISES[column.type]}",
    }
    repeated = {name: pa.repeat(value, rows.size) for name, value in same.items()}
    return pa.table({"row": rows, **repeated}, schema=FINDINGS)
