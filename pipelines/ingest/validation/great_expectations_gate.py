"""The quality gate: Great Expectations checks rows by the rules of their contract.

Rows of a feed are checked when they come in, and rows of a lead file, of offers and of a statement
before they go out.

A verdict depends on a value alone (or on the two that a rule compares). So Great Expectations is
asked about the distinct values of a table, and its verdicts on a column of few values are
remembered for the next table of the same file. It is first asked which columns keep all of their
rules, all at once; then which values break them, one column at a time, because for that answer it
copies rows out of the *whole* table, several times a rule.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import great_expectations as gx
import numpy as np
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
from pipelines.core.arrays import BoolArray, IntArray
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

FEW = 1_000
"""Distinct values of a column in a table up to which their verdicts are remembered."""
MAX_REMEMBERED = 10_000
"""Verdicts that are remembered of a column at most."""

Columns = tuple[str, ...]
"""One column, or the two that a rule compares."""
Value = tuple[Any, ...]
"""A value of one column, or the values of two."""
Verdict = tuple[int, ...]
"""Positions of the rules that a value breaks, among the rules of its columns."""
Verdicts = dict[Columns, dict[Value, Verdict]]
"""The verdicts on the values of a contract's columns."""
Suites = dict[Columns, gx.ExpectationSuite]
"""Columns, and the suite that evaluates them, in the contract's order."""

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
    Expectations), `column`, `severity` and `unexpected` (rows that violate it)."""


def check_contract(
    contract: Contract, table: pa.Table, verdicts: Verdicts | None = None
) -> GateResult:
    """Check every row of `table` by every rule of `contract`.

    Nulls, and empty lists, violate `required` alone.

    Args:
        contract: The rules.
        table: Typed rows with the columns of `contract.received_schema`; others are ignored.
        verdicts: Verdicts on values of earlier tables by the same contract; new ones are added.

    Raises:
        IntegrityError: Great Expectations failed on a rule, so no row of the table is checked.
    """
    return _check(contract, table, {} if verdicts is None else verdicts)


def check_outgoing(contract: OutboundContract, table: pa.Table) -> GateResult:
    """Check every row of an outgoing table by every rule of its contract.

    Args:
        contract: The rules.
        table: Typed rows. Rules of columns that it lacks are left out.

    Raises:
        IntegrityError: Great Expectations failed on a rule.
    """
    return _check(contract, table, {}, table.column_names)


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


@dataclass
class _DistinctValues:
    """The distinct values of one or two columns in a table, null included, and their verdicts."""

    values: pa.Table
    """One row for each, as Great Expectations evaluates it."""
    index: IntArray
    """Of each row of the table, which of the values it has."""
    is_judged: BoolArray
    """Of each value, whether its verdict is known."""
    is_broken: BoolArray
    """Of each rule and value, whether the value breaks it."""

    @property
    def unjudged(self) -> IntArray:
        """Return the positions of the values without a verdict."""
        return np.flatnonzero(~self.is_judged)

    def find_rows(self, rule: int) -> IntArray:
        """Return the rows of the table whose value breaks a rule."""
        if not self.is_broken[rule].any():
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.is_broken[rule][self.index])


def _check(
    contract: Contract | OutboundContract,
    table: pa.Table,
    verdicts: Verdicts,
    columns: Collection[str] | None = None,
) -> GateResult:
    """Check the rules of `columns`; None: of all columns of the contract."""
    suites = _make_suites(contract, None if columns is None else frozenset(columns))
    encoded = {name: _encode(table[name]) for name in {name for names in suites for name in names}}
    summary, rows = [], []
    with _configurations_kept():
        distinct = {
            names: _find_distinct(names, encoded, len(suite.expectations))
            for names, suite in suites.items()
        }
        for names, values in distinct.items():
            _recall(verdicts.get(names, {}), values)
        for are_few in (True, False):
            _accept_kept_columns(suites, distinct, are_few=are_few)
        for names, suite in suites.items():
            _judge_values(contract, suite, distinct[names])
            _remember(verdicts.setdefault(names, {}), distinct[names])
            for position, rule in enumerate(suite.expectations):
                rows.append(distinct[names].find_rows(position))
                summary.append(_read_rule(rule.configuration) | {"unexpected": rows[-1].size})
    return GateResult(_make_violations(summary, rows), summary)


def _encode(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return the distinct values of a column, null among them, and which of them each row has."""
    whole = _vectorise(column).combine_chunks()
    return pc.dictionary_encode(whole, null_encoding="encode")


def _find_distinct(
    names: Columns, encoded: Mapping[str, pa.DictionaryArray], rules: int
) -> _DistinctValues:
    """Return the distinct values of `names`: of two columns the pairs that occur."""
    columns = {name: encoded[name].dictionary for name in names}
    index: IntArray = encoded[names[0]].indices.to_numpy()
    if len(names) > 1:
        one, other = (encoded[name].indices.to_numpy().astype(np.int64) for name in names)
        pairs = one * max(1, len(columns[names[1]])) + other
        _, first, index = np.unique(pairs, return_index=True, return_inverse=True)
        columns = {
            name: columns[name].take(encoded[name].indices.take(pa.array(first))) for name in names
        }
    values = pa.table(columns)
    size = values.num_rows
    return _DistinctValues(values, index, np.zeros(size, bool), np.zeros((rules, size), bool))


def _recall(remembered: Mapping[Value, Verdict], distinct: _DistinctValues) -> None:
    """Take over the remembered verdicts, if the values are few."""
    if not remembered or distinct.values.num_rows > FEW:
        return
    for position, value in enumerate(_list_values(distinct.values)):
        if value in remembered:
            distinct.is_judged[position] = True
            distinct.is_broken[list(remembered[value]), position] = True


def _remember(remembered: dict[Value, Verdict], distinct: _DistinctValues) -> None:
    """Remember the verdicts, if the values are few."""
    if distinct.values.num_rows <= FEW and len(remembered) < MAX_REMEMBERED:
        broken = [tuple(np.flatnonzero(rules).tolist()) for rules in distinct.is_broken.T]
        remembered.update(zip(_list_values(distinct.values), broken, strict=True))


def _list_values(values: pa.Table) -> list[Value]:
    columns = [
        column.cast(pa.int64()) if pa.types.is_temporal(column.type) else column
        for column in values.columns
    ]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def _accept_kept_columns(
    suites: Suites, distinct: Mapping[Columns, _DistinctValues], *, are_few: bool
) -> None:
    """Give a verdict on the columns whose values all keep all of their rules.

    Columns of few values are asked about together, and the others together: in one table all are as
    long as the longest, so that the last value of the others is repeated.
    """
    unjudged = {
        names: distinct[names].unjudged
        for names, suite in suites.items()
        if _evaluate_values(suite.expectations)
    }
    asked = {
        names: positions
        for names, positions in unjudged.items()
        if positions.size and (positions.size <= FEW) == are_few
    }
    if not asked:
        return
    last = max(positions.size for positions in asked.values()) - 1
    columns = {
        names[0]: distinct[names]
        .values[names[0]]
        .take(pa.array(np.pad(positions, (0, last + 1 - positions.size), mode="edge")))
        for names, positions in asked.items()
    }
    rules = [rule for names in asked for rule in suites[names].expectations]
    suite = gx.ExpectationSuite(name="values", expectations=rules)
    kept: Counter[Columns] = Counter()
    for result in _validate(suite, pa.table(columns), IS_KEPT):
        configuration = cast("ExpectationConfiguration", result.expectation_config)
        kept[list_columns(configuration)] += bool(result.success)
    for names in asked:
        # A rule without a result is not kept: what was not answered is asked again.
        if kept[names] == len(suites[names].expectations):
            distinct[names].is_judged[:] = True


def _judge_values(
    contract: Contract | OutboundContract, suite: gx.ExpectationSuite, distinct: _DistinctValues
) -> None:
    """Give a verdict on the values that have none."""
    unjudged = distinct.unjudged
    if not unjudged.size:
        return
    rules = [_read_rule(rule.configuration) for rule in suite.expectations]
    for result in _validate(suite, distinct.values.take(pa.array(unjudged)), BROKEN_ROWS):
        rule = _read_rule(cast("ExpectationConfiguration", result.expectation_config))
        if "unexpected_index_list" not in result.result:
            raise IntegrityError(
                f"Great Expectations failed on a rule of {_path(contract)}: {rule['rule']} of "
                f"{rule['column']}. No row of this batch was checked, so none went on. Its own "
                "message is withheld, since it may quote personal data. Compare the column's type "
                "with the rule, and the installed version of great_expectations with "
                "requirements.txt."
            )
        broken = np.array(result.result["unexpected_index_list"], np.int64)
        distinct.is_broken[rules.index(rule), unjudged[broken]] = True
    distinct.is_judged[:] = True


@cache
def _make_suites(
    contract: Contract | OutboundContract, columns: frozenset[str] | None = None
) -> Suites:
    """Return the suite of `columns` of the contract, split; None: of all columns."""
    if isinstance(contract, Contract):
        rules = make_expectations(contract)
    else:
        rules = make_outgoing_expectations(contract)
    whole = gx.ExpectationSuite(name=_path(contract), expectations=list(rules))
    by_columns: dict[Columns, list[Expectation]] = defaultdict(list)
    for rule in whole.expectations:
        by_columns[list_columns(rule.configuration)].append(rule)
    return {
        names: gx.ExpectationSuite(name="/".join(names), expectations=of_columns)
        for names, of_columns in by_columns.items()
        if columns is None or columns.issuperset(names)
    }


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
    suite: gx.ExpectationSuite, values: pa.Table, result_format: dict[str, Any]
) -> list[ExpectationValidationResult]:
    batch = _make_batch_definition().get_batch({"dataframe": values.to_pandas()})
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


def _read_rule(expectation: ExpectationConfiguration) -> dict[str, Any]:
    column = list_columns(expectation)[0]
    return {
        "rule": expectation.meta["rule"],
        "expectation": expectation.type,
        "column": column,
        "severity": str(expectation.severity.value),
        "message": f"{column} {expectation.notes}",
    }
