"""Unknown columns whose name says that they restrict: a row with a value in one closes.

The patterns are in `expectations/policy/restricting_names.yml`. Nobody has said what such a column
means, so the careful meaning counts until it has a mapping or a place in the contract.
"""

from functools import lru_cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.contracts import Contract
from pipelines.ingest.reading.column_names import split_words
from pipelines.ingest.reading.restricting_names import find_meaning, matches
from pipelines.ingest.reading.text_table import query_rows
from pipelines.ingest.validation.great_expectations_gate import VIOLATIONS

RULE = "unknown_column"


def find_closing_values(
    connection: duckdb.DuckDBPyConnection, contract: Contract, text: pa.Table
) -> pa.Table:
    """Return the values of a batch that close their row, as violations of severity info."""
    is_sent = pc.is_valid(text["extras"])
    if contract.feed not in policy.restricting_names().columns or not pc.any(is_sent).as_py():
        return VIOLATIONS.empty_table()
    rows = pa.array(np.arange(text.num_rows))
    sent = text.select(["extras"]).append_column("row", rows).filter(is_sent)
    keys = query_rows(connection, "select distinct unnest(json_keys(extras)) from received", sent)
    names = [name for name in keys.column(0).to_pylist() if find_meaning(contract.feed, name)]
    if not names:
        return VIOLATIONS.empty_table()
    values = query_rows(connection, _values_sql(names), sent)
    pairs = zip(values["name"].to_pylist(), values["value"].to_pylist(), strict=True)
    closes = [_closes(contract.feed, name, value) for name, value in pairs]
    return _make_violations(values.filter(pa.array(closes, pa.bool_())))


def _values_sql(names: list[str]) -> str:
    """Return SQL of the values in the columns `names`: `row`, `name` and `value`."""
    listed = ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(names))
    return f"""
        with keyed as (select row, extras, unnest(json_keys(extras)) as name from received)
        select
            row, name,
            extras ->> ('$."' || replace(name, '"', '\\"') || '"') as value
        from keyed
        where name in ({listed})
        order by row, name
    """


@lru_cache(maxsize=10_000)
def _closes(feed: str, name: str, value: str | None) -> bool:
    """Return whether a value says that the row is closed; a missing one says nothing."""
    words = (value or "").strip().casefold()
    names, missing = policy.restricting_names(), policy.placeholders()
    is_negative = words in names.negative_values
    if not words or words in {word.casefold() for word in missing.programs}:
        return False
    if find_meaning(feed, name) == "restricts":
        return not is_negative
    return is_negative or matches(names.columns[feed].restricts, split_words(words))


def _make_violations(values: pa.Table) -> pa.Table:
    shared = {
        "rule": RULE,
        "severity": "info",
        "message": "a column that no contract knows says that the row is closed",
    }
    repeated = {key: pa.repeat(value, values.num_rows) for key, value in shared.items()}
    columns = {"row": values["row"], "column": values["name"]} | repeated
    return pa.table({name: columns[name] for name in VIOLATIONS.names}, schema=VIOLATIONS)
