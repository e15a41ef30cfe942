"""How many values each rule looked at and how many broke it, by the date of the partition."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.ingest.validation.great_expectations_gate import Verdict

TYPE_RULE = "value_parses_as_its_type"
"""Named beside the expectations of the gate, though the parser judges it before the gate."""

Rule = tuple[tuple[str, str], ...]
"""What identifies a rule: the items of its summary but the counts, in their order."""


class Tallies:
    """Counts of a feed, added up batch by batch. They hold no value of a row."""

    def __init__(self, days: Iterable[str]):
        """Take the partition's date (ISO) of each file of the shard."""
        self._days, self._day_of_file = np.unique(np.array(list(days), object), return_inverse=True)
        self._counts: dict[Rule, IntArray] = defaultdict(
            lambda: np.zeros((self._days.size, 2), np.int64)
        )

    def add(
        self,
        contract: Contract,
        typed: pa.Table,
        files: pa.ChunkedArray,
        misfits: pa.Table,
        verdict: Verdict,
    ) -> None:
        """Add a batch: its typed rows, the file of each, and what parser and gate found."""
        day_of_row = self._day_of_file[files.to_numpy()]
        known = {name: self._by_day(day_of_row, _is_known(typed, name)) for name in contract.names}
        everything = self._by_day(day_of_row, np.ones(typed.num_rows, bool))
        orders = iter(contract.orders)
        for column in contract.columns:
            unexpected = self._found(day_of_row, misfits, {"column": column.name})
            stated = {"rule": "type", "expectation": TYPE_RULE, "column": column.name}
            stated["severity"] = column.severity
            self._add(stated, known[column.name] + unexpected, unexpected)
        for summary in verdict.summary:
            evaluated = everything if summary["rule"] == "required" else known[summary["column"]]
            if summary["rule"] == "order":
                order = next(orders)
                both = _is_known(typed, order.earlier) & _is_known(typed, order.later)
                evaluated = self._by_day(day_of_row, both)
            which = {name: summary[name] for name in ("column", "rule", "message")}
            stated = {k: v for k, v in summary.items() if isinstance(v, str) and k != "message"}
            self._add(stated, evaluated, self._found(day_of_row, verdict.findings, which))

    def by_day(self) -> dict[str, list[dict[str, Any]]]:
        """Return the summary of each day: rule, column, severity, `evaluated`, `unexpected`."""
        return {
            day: [
                dict(rule) | {"evaluated": int(counts[i, 0]), "unexpected": int(counts[i, 1])}
                for rule, counts in self._counts.items()
            ]
            for i, day in enumerate(self._days.tolist())
        }

    def _add(self, stated: dict[str, str], evaluated: IntArray, unexpected: IntArray) -> None:
        self._counts[tuple(stated.items())] += np.column_stack((evaluated, unexpected))

    def _found(self, day_of_row: IntArray, findings: pa.Table, which: dict[str, str]) -> IntArray:
        if not findings.num_rows:
            return np.zeros(self._days.size, np.int64)
        for name, value in which.items():
            findings = findings.filter(pc.equal(findings[name], value))
        days = day_of_row[findings["row"].to_numpy()]
        return np.bincount(days, minlength=self._days.size)

    def _by_day(self, day_of_row: IntArray, is_counted: BoolArray) -> IntArray:
        return np.bincount(day_of_row[is_counted], minlength=self._days.size)


def _is_known(typed: pa.Table, name: str) -> BoolArray:
    known: BoolArray = typed[name].is_valid().to_numpy()
    return known


def merged(parts: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one summary of several, each in the order of the contract; counts add up."""
    total: dict[Rule, dict[str, Any]] = {}
    for part in parts:
        for entry in part:
            rule = tuple((key, value) for key, value in entry.items() if isinstance(value, str))
            so_far = total.setdefault(rule, dict(rule) | {"evaluated": 0, "unexpected": 0})
            so_far["evaluated"] += entry["evaluated"]
            so_far["unexpected"] += entry["unexpected"]
    return list(total.values())
