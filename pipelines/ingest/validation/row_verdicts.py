"""The verdict on each row of a batch, and how often each rule was evaluated and violated.

A row that violates a critical rule is quarantined. An optional value that violates a rule of
severity warning is emptied, and its row goes on. Other violations are only counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.ingest.quarantine import FINDINGS, NO_ROW
from pipelines.ingest.restrictions.unreadable import describe_unreadable
from pipelines.ingest.validation.great_expectations_gate import (
    VIOLATIONS,
    GateResult,
    Verdicts,
    check_contract,
)
from pipelines.ingest.validation.parse import parse_columns
from pipelines.ingest.validation.plausible_times import AHEAD, BACK, FileDates, check_times
from pipelines.ingest.validation.unknown_columns import find_closing_values
from pipelines.ingest.value_findings import ValueFindings

TYPE_RULE = "value_parses_as_its_type"
"""Listed beside the expectations of the gate, though the parser checks it before the gate."""

NOTES = ("placeholder", "ceiling", AHEAD, BACK)
"""Rules besides the gate's that are listed where they occur."""

VALUE_RULE = "value_is_plausible"
"""Listed beside the expectations of the gate, for `NOTES`."""

Rule = tuple[tuple[str, str], ...]
"""The identity of a rule: the items of its summary except the counts, in their order."""


class RuleCounts:
    """Evaluated and unexpected values by rule and partition date; no value of a row."""

    def __init__(self, days: Iterable[str]):
        """Take the partition date (ISO) of each file of the shard."""
        self._days, self._day_of_file = np.unique(np.array(list(days), object), return_inverse=True)
        self._counts: dict[Rule, IntArray] = defaultdict(
            lambda: np.zeros((self._days.size, 2), np.int64)
        )

    def add(
        self,
        contract: Contract,
        typed: pa.Table,
        files: pa.ChunkedArray,
        type_violations: pa.Table,
        gate: GateResult,
    ) -> None:
        """Add a batch: its typed rows, the file of each, and the violations of parser and gate."""
        day_of_row = self._day_of_file[files.to_numpy()]
        known = {name: self._by_day(day_of_row, _is_known(typed, name)) for name in contract.names}
        all_rows = self._by_day(day_of_row, np.ones(typed.num_rows, bool))
        orders, conditions = iter(contract.orders), iter(contract.conditional_patterns)
        maxima = (
            (column.maximum_by.column, value)
            for column in contract.columns
            if column.maximum_by
            for value, _ in column.maximum_by.values
        )
        for column in contract.columns:
            match = {"column": column.name, "rule": "type"}
            unexpected = self._count(day_of_row, type_violations, match)
            rule = {"rule": "type", "expectation": TYPE_RULE, "column": column.name}
            rule["severity"] = column.severity
            self._add(rule, known[column.name] + unexpected, unexpected)
        self._add_notes(day_of_row, known, type_violations)
        for summary in gate.summary:
            evaluated = all_rows if summary["rule"] == "required" else known[summary["column"]]
            if summary["rule"] == "order":
                order = next(orders)
                both = _is_known(typed, order.earlier) & _is_known(typed, order.later)
                evaluated = self._by_day(day_of_row, both)
            elif summary["rule"] == "conditional_pattern":
                condition = next(conditions)
                applies = pc.is_in(typed[condition.when], value_set=pa.array(condition.values))
                both = applies.to_numpy() & _is_known(typed, condition.column)
                evaluated = self._by_day(day_of_row, both)
            elif summary["rule"] == "conditional_range":
                when, value = next(maxima)
                applies = pc.fill_null(pc.equal(typed[when], value), fill_value=False).to_numpy()
                both = applies & _is_known(typed, summary["column"])
                evaluated = self._by_day(day_of_row, both)
            match = {name: summary[name] for name in ("column", "rule", "message")}
            rule = {k: v for k, v in summary.items() if isinstance(v, str) and k != "message"}
            self._add(rule, evaluated, self._count(day_of_row, gate.violations, match))

    def _add_notes(
        self, day_of_row: IntArray, known: dict[str, IntArray], type_violations: pa.Table
    ) -> None:
        """Add the rules of placeholders, ceilings and times, as far as they occur."""
        notes = type_violations.filter(pc.is_in(type_violations["rule"], value_set=pa.array(NOTES)))
        found = notes.group_by(["column", "rule", "severity"]).aggregate([])
        for match in found.sort_by([("column", "ascending"), ("rule", "ascending")]).to_pylist():
            unexpected = self._count(day_of_row, type_violations, match)
            evaluated = known[match["column"]]
            if match["rule"] == "placeholder":
                evaluated = evaluated + unexpected
            rule = {"rule": match["rule"], "expectation": VALUE_RULE, "column": match["column"]}
            self._add(rule | {"severity": match["severity"]}, evaluated, unexpected)

    def by_day(self) -> dict[str, list[dict[str, Any]]]:
        """Return the summary of each day: rule, column, severity, `evaluated`, `unexpected`."""
        return {
            day: [
                dict(rule) | {"evaluated": int(counts[i, 0]), "unexpected": int(counts[i, 1])}
                for rule, counts in self._counts.items()
            ]
            for i, day in enumerate(self._days.tolist())
        }

    def _add(self, rule: dict[str, str], evaluated: IntArray, unexpected: IntArray) -> None:
        self._counts[tuple(rule.items())] += np.column_stack((evaluated, unexpected))

    def _count(self, day_of_row: IntArray, violations: pa.Table, match: dict[str, str]) -> IntArray:
        """Return by day the violations whose columns equal `match`."""
        if not violations.num_rows:
            return np.zeros(self._days.size, np.int64)
        for name, value in match.items():
            violations = violations.filter(pc.equal(violations[name], value))
        days = day_of_row[violations["row"].to_numpy()]
        return np.bincount(days, minlength=self._days.size)

    def _by_day(self, day_of_row: IntArray, is_counted: BoolArray) -> IntArray:
        return np.bincount(day_of_row[is_counted], minlength=self._days.size)


def _is_known(typed: pa.Table, name: str) -> BoolArray:
    is_known: BoolArray = typed[name].is_valid().to_numpy()
    return is_known


@dataclass(frozen=True)
class FilesOfShard:
    """The files of a feed in a shard, by position: what their rows are judged by."""

    dates: FileDates
    """The date on which each file counts."""
    unterminated: Mapping[int, int]
    """File -> the line of its last record, where that may be cut."""
    findings: ValueFindings
    """Counts the values that the page reports by source."""
    verdicts: Verdicts = field(default_factory=dict)
    """The gate's verdicts on values of earlier batches."""


def validate_batch(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    text: pa.Table,
    first_row: int,
    counts: RuleCounts,
    files: FilesOfShard,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Parse a batch, check its contract, and decide on each row.

    Args:
        connection: Runs the parser's SQL.
        contract: The types and rules.
        text: Rows by `text_schema`.
        first_row: Number of the first accepted row; the others follow.
        counts: Adds the evaluated and unexpected values of the batch.
        files: The files that the rows come from.

    Returns:
        The accepted rows (typed columns, `extras`, `task`, `line`, `received` and their
        number `row`); the findings (`quarantine.FINDINGS`) of quarantined rows and emptied
        values; and what the rows of a feed that restricts concern that are quarantined, or closed
        by an unknown column (`unreadable.UNREADABLE`).
    """
    typed, type_violations = parse_columns(connection, contract, text)
    gate = check_contract(contract, typed, files.verdicts)
    times = check_times(contract, typed, text["task"], files.dates)
    cut = _find_unterminated(text, files.unterminated)
    counts.add(contract, typed, text["task"], pa.concat_tables([type_violations, times]), gate)
    files.findings.add(
        pa.concat_tables([type_violations, times, cut, gate.violations]), text["task"]
    )
    untyped = type_violations.filter(pc.equal(type_violations["rule"], "type"))
    broken = _drop_type_violations(gate.violations, untyped)
    violations = pa.concat_tables([untyped, broken, times, cut])

    is_quarantined = np.zeros(text.num_rows, bool)
    critical = violations.filter(pc.equal(violations["severity"], "critical"))
    is_quarantined[critical["row"].to_numpy()] = True
    warnings = violations.filter(pc.equal(violations["severity"], "warning"))
    warnings = warnings.filter(pa.array(~is_quarantined[warnings["row"].to_numpy()]))

    rows = _empty_values(typed, warnings)
    for name in ("extras", "task", "line", "received"):
        rows = rows.append_column(name, text[name])
    numbers = np.where(is_quarantined, NO_ROW, first_row + np.cumsum(~is_quarantined) - 1)
    rows = rows.append_column("row", pa.array(numbers)).filter(pa.array(~is_quarantined))
    findings = [_make_findings(part, text, numbers) for part in (critical, warnings)]
    closing = find_closing_values(connection, contract, text)
    unreadable = describe_unreadable(contract, typed, pa.concat_tables([critical, closing]), text)
    return rows, pa.concat_tables(findings), unreadable


def _find_unterminated(text: pa.Table, unterminated: Mapping[int, int]) -> pa.Table:
    """Return the last rows of files without a last line end: 5000 may have become 50."""
    files, lines = text["task"].to_numpy(), text["line"].to_numpy()
    rows = [
        np.flatnonzero((files == file) & (lines == line)) for file, line in unterminated.items()
    ]
    found = np.concatenate([np.zeros(0, np.int64), *rows])
    shared = {
        "column": pa.nulls(found.size, pa.string()),
        "rule": pa.repeat("unterminated_line", found.size),
        "severity": pa.repeat("critical", found.size),
        "message": pa.repeat(
            "the last line has no line end, so its last value may be cut; end each line with one",
            found.size,
        ),
    }
    return pa.table({"row": found, **shared}, schema=VIOLATIONS)


def _drop_type_violations(violations: pa.Table, type_violations: pa.Table) -> pa.Table:
    """Return `violations` except for type_violations, whose values are null after parsing."""
    if not type_violations.num_rows or not violations.num_rows:
        return violations
    is_misfit = pc.is_in(
        _identify(violations), value_set=_identify(type_violations).combine_chunks()
    )
    return violations.filter(pc.invert(is_misfit))


def _identify(violations: pa.Table) -> pa.ChunkedArray:
    """Return row and column of each violation as one text."""
    rows = violations["row"].cast(pa.string())
    return pc.binary_join_element_wise(rows, violations["column"], "/")


def _empty_values(typed: pa.Table, warnings: pa.Table) -> pa.Table:
    """Return `typed` with null for each value that violates a rule of severity warning."""
    for name in pc.unique(warnings["column"]).to_pylist():
        is_violation = np.zeros(typed.num_rows, bool)
        is_violation[warnings.filter(pc.equal(warnings["column"], name))["row"].to_numpy()] = True
        index = typed.schema.get_field_index(name)
        values = pc.if_else(pa.array(is_violation), None, typed[name])
        typed = typed.set_column(index, name, values)
    return typed


def _make_findings(violations: pa.Table, text: pa.Table, numbers: IntArray) -> pa.Table:
    """Return `violations` as findings; a quarantined row counts once, in its first finding."""
    violations = violations.sort_by([("row", "ascending")])
    position = violations["row"].to_numpy()
    row = numbers[position]
    is_first = np.diff(position, prepend=NO_ROW) > 0
    origin = text.select(["task", "line", "received"]).take(violations["row"])
    columns = {
        "task": origin["task"],
        "row": row,
        "line": origin["line"],
        "rows": (is_first & (row == NO_ROW)).astype(np.int64),
        "received": origin["received"],
    } | {name: violations[name] for name in ("column", "rule", "severity", "message")}
    return pa.table({name: columns[name] for name in FINDINGS.names}, schema=FINDINGS)
