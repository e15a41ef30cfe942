"""Placeholders: texts such as NULL or a device id of zeros that stand for a missing value.

The words are in `expectations/policy/placeholders.yml`, the patterns of single columns in their
contracts. A value that is one becomes null before anything is parsed.
"""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.contracts import Column, Contract
from pipelines.ingest.reading.text_table import TRIMMED
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS

RULE = "placeholder"


def empty_placeholders(contract: Contract, text: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return `text` with null for each placeholder, and the placeholders as violations (info)."""
    violations = [VIOLATIONS.empty_table()]
    for column in contract.columns:
        index = text.schema.get_field_index(column.name)
        values = text.column(index)
        if values.null_count == len(values):
            continue
        is_placeholder = _find_placeholders(column, values)
        if not pc.any(is_placeholder).as_py():
            continue
        text = text.set_column(index, column.name, pc.if_else(is_placeholder, None, values))
        violations.append(_make_violations(column, np.flatnonzero(is_placeholder.to_numpy())))
    return text, pa.concat_tables(violations)


def _find_placeholders(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim(values, characters=TRIMMED)
    is_placeholder = pc.is_in(trimmed, value_set=pa.array(list_words(column), pa.string()))
    if column.placeholder_pattern:
        pattern = rf"\A(?:{column.placeholder_pattern})\z"
        matches = pc.fill_null(pc.match_substring_regex(trimmed, pattern), fill_value=False)
        is_placeholder = pc.or_(is_placeholder, matches)
    return is_placeholder


@cache
def list_words(column: Column) -> tuple[str, ...]:
    """Return the words that stand for a missing value in `column`.

    Where a value restricts, only the words of programs do: what a person meant by N/A is not known,
    nor whether a limit that is not a number is missing or was calculated wrongly.
    """
    if not column.placeholders:
        return ()
    words = policy.placeholders()
    listed = list(words.programs)
    if not (column.restricts and column.type in {"number", "integer"}):
        listed += words.numbers
    if not column.restricts:
        listed += words.people
    return tuple(word for word in listed if word not in column.allowed)


def _make_violations(column: Column, rows: np.ndarray) -> pa.Table:
    shared = {
        "column": column.name,
        "rule": RULE,
        "severity": "info",
        "message": f"{column.name} is a placeholder, so it counts as missing",
    }
    repeated = {name: pa.repeat(value, rows.size) for name, value in shared.items()}
    return pa.table({"row": rows, **repeated}, schema=VIOLATIONS)
