"""The quality gate: Great Expectations checks rows by the rules of their contract.

Rows of a feed are checked when they come in, and rows of a lead file, of offers and of a statement
before they go out.

The whole table is asked once which rules every value keeps. Only the columns of the other rules are
asked for the rows that break them, one column at a time (or the two that a rule compares): for that
answer Great Expectations copies the rows out of the *whole* table, several times a rule; 200,000
leads take 2 s by column and 11 s as one table.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
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
from great_expectations.execution_engine import pandas_execution_engine
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from expectations.contracts import Contract
from expectations.outbound_contracts import OutboundContract
from expectations.suites import list_columns, make_expectations, make_outgoing_expectations
from pipelines.core.arrays import IntArray
from pipelines.core.errors import IntegrityError

VIOLATIONS = pa.schema(
    [
        ("row", pa.int64()),
        ("column", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("message", pa.string()),
    ]
)
"""One row per violated rule and row; `row` is the position in the checked table, from 0."""

CONDITION = "row_condition"
"""The argument of a rule that holds for some rows only."""

IS_KEPT = {"result_format": "BOOLEAN_ONLY"}
BROKEN_ROWS = {
    "result_format": "COMPLETE",
    # Great Expectations returns positions and never values: values are personal data.
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}


@dataclass(frozen=True)
class GateResult:
    """The result of the gate for one table, without any value of the table."""

    violations: pa.Table
    """Rows by `VIOLATIONS`, sorted. `rule` is required, allowed, pattern, range, max_length or
    order; `message` states the requirement. A violated order is reported for its later column."""

    summary: list[dict[str, Any]]
    """One entry per rule of the contract, in its order: `rule`, `expectation` (its type in Great
    Expectations), `column`, `severity`, `evaluated` (rows whose value is known; all rows for
    `required`) and `unexpected` (rows that violate it)."""


def check_contract(contract: Contract, table: pa.Table) -> GateResult:
    """Check every row of `table` by every rule of `contract`.

    Nulls, and empty lists, violate `required` alone.

    Args:
        contract: The rules.
        table: Typed rows with the columns of `contract.received_schema`; others are ignored.

    Raises:
        IntegrityError: Great Expectations failed on a rule, so no row of the table is checked.
    """
    return _check(contract, table)


def check_outgoing(contract: OutboundContract, table: pa.Table) -> GateResult:
    """Check every row of an outgoing table by every rule of its contract.

    Args:
        contract: The rules.
        table: Typed rows. Rules of columns that it lacks are left out.

    Raises:
        IntegrityError: Great Expectations failed on a rule.
    """
    return _check(contract, table, table.column_names)


def require_outgoing(contract: OutboundContract, table: pa.Table) -> None:
    """Refuse an outgoing table that breaks its contract.

    Raises:
        IntegrityError: A row breaks a rule. The message counts rows and quotes none.
    """
    broken = [rule for rule in check_outgoing(contract, table).summary if rule["unexpected"]]
    if broken:
        counts = "; ".join(f"{rule['message']} ({rule['unexpected']:,} rows)" for rule in broken)
        raise IntegrityError(
            f"rows of the {contract.name} break expectations/outbound/{contract.name}.yml, so none "
            f"was published: {counts}"
        )


@dataclass(frozen=True)
class _Suites:
    """The suite of a contract, split."""

    by_columns: tuple[tuple[tuple[str, ...], gx.ExpectationSuite], ...]
    """Columns, and the suite that evaluates them, in the contract's order."""
    of_values: gx.ExpectationSuite
    """The rules that evaluate each known value of one column: no condition, no comparison."""


def _check(
    contract: Contract | OutboundContract, table: pa.Table, columns: Collection[str] | None = None
) -> GateResult:
    """Check the rules of `columns`; None: of all columns of the contract."""
    suites = _make_suites(contract, None if columns is None else frozenset(columns))
    summary, rows = [], []
    with _configurations_kept():
        kept = _find_kept_columns(suites.of_values, table)
        for names, suite in suites.by_columns:
            results = kept.get(names, [])
            # A rule without a result is not kept: what was not answered is asked again.
            if _evaluate_values(suite.expectations) and len(results) == len(suite.expectations):
                summary += [_summarise_kept(result, table) for result in results]
                rows += [np.zeros(0, np.int64)] * len(results)
                continue
            for result in _validate(suite, _make_frame(table, names), BROKEN_ROWS):
                summary.append(_summarise(contract, result))
                rows.append(np.array(result.result["unexpected_index_list"], np.int64))
    return GateResult(_make_violations(summary, rows), summary)


def _find_kept_columns(
    suite: gx.ExpectationSuite, table: pa.Table
) -> dict[tuple[str, ...], list[ExpectationValidationResult]]:
    """Return the results of the columns that keep all of their rules in `suite`."""
    if not suite.expectations:
        return {}
    names = {list_columns(rule.configuration)[0] for rule in suite.expectations}
    by_column: dict[tuple[str, ...], list[ExpectationValidationResult]] = defaultdict(list)
    for result in _validate(suite, _make_frame(table, sorted(names)), IS_KEPT):
        columns = list_columns(cast("ExpectationConfiguration", result.expectation_config))
        by_column[columns].append(result)
    return {
        columns: results
        for columns, results in by_column.items()
        if all(result.success for result in results)
    }


@cache
def _make_suites(
    contract: Contract | OutboundContract, columns: frozenset[str] | None = None
) -> _Suites:
    """Return the suite of `columns` of the contract, split; None: of all columns."""
    if isinstance(contract, Contract):
        rules = make_expectations(contract)
    else:
        rules = make_outgoing_expectations(contract)
    whole = gx.ExpectationSuite(name=_path(contract), expectations=list(rules))
    by_columns = groupby(whole.expectations, lambda rule: list_columns(rule.configuration))
    parts = [
        (names, list(rules))
        for names, rules in by_columns
        if columns is None or columns.issuperset(names)
    ]
    of_values = [rule for _, rules in parts if _evaluate_values(rules) for rule in rules]
    return _Suites(
        tuple(
            (names, gx.ExpectationSuite(name="/".join(names), expectations=rules))
            for names, rules in parts
        ),
        gx.ExpectationSuite(name=f"{_path(contract)}: values", expectations=of_values),
    )


def _evaluate_values(rules: Iterable[Expectation]) -> bool:
    """Return whether each of `rules` evaluates the known values of one column, and nothing else."""
    return all(
        len(list_columns(rule.configuration)) == 1 and not rule.configuration.kwargs.get(CONDITION)
        for rule in rules
    )


def _path(contract: Contract | OutboundContract) -> str:
    """Return the file of a contract."""
    if isinstance(contract, Contract):
        return f"expectations/contracts/{contract.feed}.yml"
    return f"expectations/outbound/{contract.name}.yml"


@cache
def _make_batch_definition() -> BatchDefinition[Any]:
    """Return the data asset that takes data frames; one context serves the whole process."""
    # Its log quotes the values it failed on, which are personal data; the gate raises instead.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    # A fingerprint of each table, which nobody reads, takes two fifths of its time.
    pandas_execution_engine.HASH_THRESHOLD = 0
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    frames = context.data_sources.add_pandas("memory").add_dataframe_asset("frames")
    return frames.add_batch_definition_whole_dataframe("whole")


def _validate(
    suite: gx.ExpectationSuite, frame: pd.DataFrame, result_format: dict[str, Any]
) -> list[ExpectationValidationResult]:
    batch = _make_batch_definition().get_batch({"dataframe": frame})
    return batch.validate(suite, result_format=result_format).results


@contextmanager
def _configurations_kept() -> Iterator[None]:
    """Let each rule derive its configuration once, until the block ends.

    Great Expectations derives it from the rule's fields whenever it reads one of them, 150 times a
    rule and table: a quarter of its time. It changes no rule that it evaluates.
    """
    derive = vars(Expectation)["configuration"]
    kept: dict[int, tuple[Expectation, ExpectationConfiguration]] = {}

    def configuration(rule: Expectation) -> ExpectationConfiguration:
        if id(rule) not in kept:  # the rule is kept as well, so that no other one gets its id
            kept[id(rule)] = rule, derive.fget(rule)
        return kept[id(rule)][1]

    Expectation.configuration = property(configuration)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Expectation.configuration = derive  # type: ignore[method-assign]


def _make_frame(table: pa.Table, columns: Iterable[str]) -> pd.DataFrame:
    return pa.table({name: _vectorise(table[name]) for name in columns}).to_pandas()


def _vectorise(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column that Great Expectations can evaluate by vector: no lists, no objects."""
    if pa.types.is_list(column.type):
        length = pc.list_value_length(column)
        return pc.if_else(pc.equal(length, 0), None, length)
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    if pa.types.is_temporal(column.type):
        return column.cast(pa.timestamp("us"))
    return column


def _make_violations(rules: list[dict[str, Any]], rows: list[IntArray]) -> pa.Table:
    """Return `rows[i]` as violations of `rules[i]`, sorted by row, column, rule, message."""
    by = ("column", "rule", "message")
    order = sorted(range(len(rules)), key=lambda i: [rules[i][name] for name in by])
    row = np.concatenate([rows[i] for i in order])
    rank = np.repeat(np.arange(len(order)), [len(rows[i]) for i in order])
    by_row = np.argsort(row, kind="stable")
    violated = pa.Table.from_pylist([rules[i] for i in order]).take(pa.array(rank[by_row]))
    table = violated.append_column("row", pa.array(row[by_row]))
    return table.select(VIOLATIONS.names).cast(VIOLATIONS)


def _summarise(
    contract: Contract | OutboundContract, result: ExpectationValidationResult
) -> dict[str, Any]:
    rule, counts = _read_rule(result), result.result
    if "unexpected_index_list" not in counts:
        raise IntegrityError(
            f"Great Expectations failed on a rule of {_path(contract)}: {rule['rule']} of "
            f"{rule['column']}. No row of this batch was checked, so none went on. Its own message "
            "is withheld, since it may quote personal data. Compare the column's type with the "
            "rule, and the installed version of great_expectations with requirements.txt."
        )
    return rule | {
        "evaluated": counts["element_count"] - counts.get("missing_count", 0),
        "unexpected": counts["unexpected_count"],
    }


def _summarise_kept(result: ExpectationValidationResult, table: pa.Table) -> dict[str, Any]:
    """Return the summary of a rule that every value of its column in `table` keeps."""
    rule = _read_rule(result)
    column = _vectorise(table[rule["column"]])
    unknown = 0 if rule["rule"] == "required" else column.null_count
    return rule | {"evaluated": len(column) - unknown, "unexpected": 0}


def _read_rule(result: ExpectationValidationResult) -> dict[str, str]:
    expectation = cast("ExpectationConfiguration", result.expectation_config)
    column = list_columns(expectation)[0]
    return {
        "rule": expectation.meta["rule"],
        "expectation": expectation.type,
        "column": column,
        "severity": str(expectation.severity.value),
        "message": f"{column} {expectation.notes}",
    }
