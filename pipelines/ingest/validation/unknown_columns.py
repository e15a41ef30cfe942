"""Unknown columns whose name says that they restrict: a row with a value in one closes.

The patterns are in `expectations/policy/restricting_names.yml`. Nobody has said what such a column
means, so the careful meaning counts until it has a mapping or a place in the contract.
"""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.contracts import Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.ingest.reading.text_table import query_rows
from pipelines.ingest.restrictions.restricting_names import (
    Meaning,
    find_meaning,
    matches,
    split_words,
)
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS

RULE = "unknown_column"


def find_closing_values(
    connection: duckdb.DuckDBPyConnection, contract: Contract, text: pa.Table
) -> pa.Table:
    """Return the values of a batch that close their row, as violations of severity info."""
    extras = text.select(["extras"])
    if (
        contract.feed not in policy.restricting_names().columns
        or not pc.any(pc.is_valid(extras["extras"])).as_py()
    ):
        return VIOLATIONS.empty_table()
    keys = query_rows(connection, "select distinct unnest(json_keys(extras)) from received", extras)
    found = [VIOLATIONS.empty_table()]
    for name in sorted(key for key in keys.column(0).to_pylist() if key):
        if meaning := find_meaning(contract.feed, name):
            rows = np.flatnonzero(_find_closing(connection, contract, extras, name, meaning))
            found.append(_make_violations(name, rows))
    return pa.concat_tables(found)


def _find_closing(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    extras: pa.Table,
    name: str,
    meaning: Meaning,
) -> BoolArray:
    path = name.replace('"', '\\"').replace("'", "''")
    query = f"""select extras ->> '$."{path}"' as value from received"""
    values = query_rows(connection, query, extras)["value"].combine_chunks().dictionary_encode()
    closes = [_closes(contract.feed, value, meaning) for value in values.dictionary.to_pylist()]
    flags = pc.take(pa.array(closes, pa.bool_()), values.indices)
    closing: BoolArray = pc.fill_null(flags, fill_value=False).to_numpy(zero_copy_only=False)
    return closing


def _closes(feed: str, value: str, meaning: Meaning) -> bool:
    """Return whether a value says that the row is closed; a missing one says nothing."""
    words = value.strip().casefold()
    names, missing = policy.restricting_names(), policy.placeholders()
    is_negative = words in names.negative_values
    if not words or words in {word.casefold() for word in missing.programs}:
        return False
    if meaning == "restricts":
        return not is_negative
    return is_negative or matches(names.columns[feed].restricts, split_words(value))


def _make_violations(name: str, rows: IntArray) -> pa.Table:
    shared = {
        "column": name,
        "rule": RULE,
        "severity": "info",
        "message": "a column that no contract knows says that the row is closed",
    }
    repeated = {key: pa.repeat(value, rows.size) for key, value in shared.items()}
    return pa.table({"row": rows, **repeated}, schema=VIOLATIONS)
