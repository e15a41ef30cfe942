"""The quality gate: Great Expectations judges the rows of a feed by the rules of its contract.

Great Expectations copies the rows that a rule looks at out of the *whole* table, several times a
rule. So it is handed one column at a time (or the two that a rule compares): 200,000 leads take
2 s that way where the whole table at once took 11 s.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, cast

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from expectations.contracts import Contract
from expectations.suites import columns_of, suite_for
from pipelines.core.arrays import IntArray
from pipelines.core.errors import IntegrityError

FINDINGS = pa.schema(
    [
        ("row", pa.int64()),
        ("column", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("message", pa.string()),
    ]
)

RESULT_FORMAT = {
    "result_format": "COMPLETE",
    # Great Expectations says where a rule is broken and never by what: values are personal data.
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}


@dataclass(frozen=True)
class Verdict:
    """What the gate found in one table. Neither part holds a value of the table."""

    findings: pa.Table
    """One row per broken rule and row, sorted: `row` (position in the judged table, from 0),
    `column`, `rule` (required, allowed, pattern, range, max_length, order), `severity` and
    `message`, the promise that isn't kept. A broken order is told of its later column."""

    summary: list[dict[str, Any]]
    """One entry per rule of the contract, in its order: `rule`, `expectation` (its type in Great
    Expectations), `column`, `severity`, `evaluated` (rows whose value is known; all rows for
    `required`) and `unexpected` (rows that broke it)."""


def judge(contract: Contract, table: pa.Table) -> Verdict:
    """Judge every row of `table` by every rule of `contract`.

    Nulls, and empty lists, are judged by `required` alone.

    Args:
        contract: What the feed promises.
        table: Typed rows with the columns of `contract.received_schema`; others are not looked at.

    Raises:
        IntegrityError: Great Expectations failed on a rule, so nothing of the table is judged.
    """
    summary, rows = [], []
    for columns, suite in _suites(contract):
        for result in _validated(suite, _frame(table, columns)):
            summary.append(_summary(contract, result))
            rows.append(np.array(result.result["unexpected_index_list"], np.int64))
    return Verdict(_findings(summary, rows), summary)


@cache
def _suites(contract: Contract) -> tuple[tuple[tuple[str, ...], gx.ExpectationSuite], ...]:
    """Return the contract's suite in parts, each with the columns that it looks at."""
    parts = groupby(suite_for(contract).expectations, lambda rule: columns_of(rule.configuration))
    return tuple(
        (columns, gx.ExpectationSuite(name="/".join(columns), expectations=list(rules)))
        for columns, rules in parts
    )


@cache
def _batches() -> BatchDefinition[Any]:
    """Return where frames are handed in; one context serves the whole process."""
    # Its log quotes what it failed on, and that may be a person's data; `judge` raises instead.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    frames = context.data_sources.add_pandas("memory").add_dataframe_asset("frames")
    return frames.add_batch_definition_whole_dataframe("whole")


def _validated(
    suite: gx.ExpectationSuite, frame: pd.DataFrame
) -> list[ExpectationValidationResult]:
    batch = _batches().get_batch({"dataframe": frame})
    return batch.validate(suite, result_format=RESULT_FORMAT).results


def _frame(table: pa.Table, columns: Iterable[str]) -> pd.DataFrame:
    return pa.table({name: _judgeable(table[name]) for name in columns}).to_pandas()


def _judgeable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what Great Expectations judges by vector: no lists, no Python objects."""
    if pa.types.is_list(column.type):
        length = pc.list_value_length(column)
        return pc.if_else(pc.equal(length, 0), None, length)
    if pa.types.is_temporal(column.type):
        return column.cast(pa.timestamp("us"))
    return column


def _findings(rules: list[dict[str, Any]], rows: list[IntArray]) -> pa.Table:
    """Return `rows[i]` as the findings of `rules[i]`, sorted by row, column, rule, message."""
    order = sorted(range(len(rules)), key=lambda i: [rules[i][name] for name in _SORTED_BY])
    row = np.concatenate([rows[i] for i in order])
    rank = np.repeat(np.arange(len(order)), [len(rows[i]) for i in order])
    by_row = np.argsort(row, kind="stable")
    told = pa.Table.from_pylist([rules[i] for i in order]).take(pa.array(rank[by_row]))
    return told.append_column("row", pa.array(row[by_row])).select(FINDINGS.names).cast(FINDINGS)


_SORTED_BY = ("column", "rule", "message")


def _summary(contract: Contract, result: ExpectationValidationResult) -> dict[str, Any]:
    rule, counts = _rule(result), result.result
    if "unexpected_index_list" not in counts:
        raise IntegrityError(
            f"Great Expectations failed on a rule of the {contract.feed} contract: {rule['rule']} "
            f"of {rule['column']}. No row of this part was judged or loaded. Its own message is "
            "withheld, since it may quote personal data. Compare the column's type in "
            f"expectations/contracts/{contract.feed}.yml with the rule, and the installed version "
            "of great_expectations with requirements.txt."
        )
    return rule | {
        "evaluated": counts["element_count"] - counts.get("missing_count", 0),
        "unexpected": counts["unexpected_count"],
    }


def _rule(result: ExpectationValidationResult) -> dict[str, str]:
    stated = cast("ExpectationConfiguration", result.expectation_config)
    column = columns_of(stated)[0]
    return {
        "rule": stated.meta["rule"],
        "expectation": stated.type,
        "column": column,
        "severity": str(stated.severity.value),
        "message": f"{column} {stated.notes}",
    }
