"""Parse text to types, by column, in SQL. Text that does not parse is a violation; no repair.

Each distinct text of a column is parsed once: most columns of a batch have few. Columns of few
texts are parsed in one query and the others in another one, because every column of a query is as
long as the longest.
"""

from functools import lru_cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Column, Contract
from pipelines.core.arrays import IntArray
from pipelines.ingest.reading.text_table import TRIMMED, UNTYPABLE, WHITE_SPACE, query_rows
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS
from pipelines.ingest.validation.placeholders import PLACEHOLDER, find_placeholders

DAY = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
OFFSET = "(Z|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"
NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,4})?"
WHOLE = "[+-]?[0-9]{1,19}([.]0+)?"
LONG_WHOLE = "[+-]?[0-9]{1,38}([.]0+)?"
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

PARSERS_WITH_CEILING = {
    "integer": (
        f"case when regexp_full_match(VALUE, '{LONG_WHOLE}') then try_cast(least("
        "cast(regexp_replace(VALUE, '[.]0+$', '') as hugeint), CEILING) as bigint) end"
    ),
    "number": PARSERS["number"].replace(
        "then try_cast(VALUE as double) end",
        "then least(try_cast(VALUE as double), cast(CEILING as double)) end",
    ),
}
"""SQL of the types with a `ceiling`."""

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


FEW = 1_000
"""Most distinct texts of a column that is parsed together with other short ones."""


def parse_columns(
    connection: duckdb.DuckDBPyConnection, contract: Contract, text: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Parse the columns of `contract` to their types.

    White space around a value is trimmed; an empty value and a placeholder are null.

    Args:
        text: Rows by `text_schema`.

    Returns:
        The typed columns (`contract.received_schema`), with the rows in the same order; and the
        violations of the rules `type` (the value is null in the typed columns), `placeholder` (too)
        and `ceiling`, the last two of severity info.
    """
    encoded = {name: _encode(text[name]) for name in contract.names}
    distinct = {name: pc.utf8_trim(encoded[name].dictionary, TRIMMED) for name in encoded}
    violations = [VIOLATIONS.empty_table()]
    for column in contract.columns:
        values = distinct[column.name]
        is_placeholder = find_placeholders(column, values)
        distinct[column.name] = pc.if_else(is_placeholder, None, values)
        rows = _find_rows(encoded[column.name], is_placeholder)
        violations.append(_make_violations(column, PLACEHOLDER, rows))
    parsed = _parse_distinct(connection, contract, distinct)
    typed = {}
    for column in contract.columns:
        name = column.name
        typed[name] = parsed[name].cast(column.arrow_type).take(encoded[name].indices)
        for rule in _list_rules(column):
            rows = _find_rows(encoded[name], parsed[f"{name} {rule}"])
            violations.append(_make_violations(column, rule, rows))
    return pa.table(typed, schema=contract.received_schema), pa.concat_tables(violations)


def _parse_distinct(
    connection: duckdb.DuckDBPyConnection, contract: Contract, distinct: dict[str, pa.Array]
) -> dict[str, pa.Array]:
    """Return the parsed texts of each column, and of each of its rules which texts break it."""
    parsed = {}
    few = frozenset(name for name, texts in distinct.items() if len(texts) <= FEW)
    for names in (few, frozenset(distinct) - few):
        if not names:
            continue
        texts = {name: distinct[name] for name in contract.names if name in names}
        table = query_rows(connection, _parse_sql(contract, names), _stack(texts))
        for column in table.column_names:
            size = len(texts[column.split(" ")[0]])
            parsed[column] = table[column].slice(0, size).combine_chunks()
    return parsed


def _encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return the distinct values of `column`, and of each row which one it has; null is none."""
    return column.combine_chunks().dictionary_encode()


def _stack(columns: dict[str, pa.Array]) -> pa.Table:
    """Return `columns` side by side; the shorter ones end with nulls."""
    rows = max(len(column) for column in columns.values())
    return pa.table(
        {
            name: pa.concat_arrays([column, pa.nulls(rows - len(column), column.type)])
            for name, column in columns.items()
        }
    )


def _find_rows(encoded: pa.DictionaryArray, is_found: pa.Array) -> IntArray:
    """Return the rows whose value is one of the distinct values that `is_found` marks."""
    if not pc.any(is_found).as_py():
        return np.zeros(0, np.int64)
    found = is_found.take(encoded.indices).fill_null(False)  # noqa: FBT003 - Arrow's signature
    return np.flatnonzero(found.to_numpy(zero_copy_only=False))


def _list_rules(column: Column) -> list[str]:
    """Return the rules of `column` that the parser checks."""
    return ["type", *(["ceiling"] if column.ceiling is not None else [])]


@lru_cache(maxsize=100)
def _parse_sql(contract: Contract, names: frozenset[str]) -> str:
    columns = [column for column in contract.columns if column.name in names]
    stated = ", ".join(f"{_text(column)} as {_quote(column)}" for column in columns)
    parses = ",\n".join(f"{_parse(column)} as {_typed(column)}" for column in columns)
    selected = ",\n".join(_select(column) for column in columns)
    return f"""
        with stated as (select {stated} from received),
        parsed as (select *, {parses} from stated)
        select {selected} from parsed
    """


def _text(column: Column) -> str:
    """Return the SQL of a column's text; null where it is empty or means the same."""
    value = f"nullif({_quote(column)}, '')"
    if not column.means_every:
        return value
    words = ", ".join(f"'{word.lower()}'" for word in column.means_every)
    return f"case when lower({value}) not in ({words}) then {value} end"


def _parse(column: Column) -> str:
    parsers = PARSERS if column.ceiling is None else PARSERS_WITH_CEILING
    sql = parsers[column.type].replace("CEILING", str(column.ceiling))
    return sql.replace("VALUE", _quote(column))


def _select(column: Column) -> str:
    """Return the SQL of a typed column and of one flag per rule."""
    terms = [
        f"{_typed(column)} as {_quote(column)}",
        f'{_quote(column)} is not null and {_typed(column)} is null as "{column.name} type"',
    ]
    if column.ceiling is not None:
        is_above = (
            f"{_typed(column)} is not null "
            f"and try_cast({_quote(column)} as double) > {column.ceiling}"
        )
        terms.append(f'{is_above} as "{column.name} ceiling"')
    return ", ".join(terms)


def _quote(column: Column) -> str:
    """Return the name as an identifier: a contract may name a column by a word of SQL."""
    return f'"{column.name}"'


def _typed(column: Column) -> str:
    return f'"{column.name} typed"'


def _make_violations(column: Column, rule: str, rows: IntArray) -> pa.Table:
    requirement = {
        PLACEHOLDER: "is a placeholder, so it counts as missing",
        "type": REQUIREMENTS[column.type],
        "ceiling": f"is above {column.ceiling:,} and counts as that" if column.ceiling else "",
    }[rule]
    shared = {
        "column": column.name,
        "rule": rule,
        "severity": column.severity if rule == "type" else "info",
        "message": f"{column.name} {requirement}",
    }
    repeated = {name: pa.repeat(value, rows.size) for name, value in shared.items()}
    return pa.table({"row": rows, **repeated}, schema=VIOLATIONS)
