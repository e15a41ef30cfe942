"""Great Expectations suites, derived from the contracts: one expectation per rule of a column.

A rule's `meta` carries its short name and its `notes` the promise, as quarantine and report tell
them.
"""

from collections.abc import Iterator
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity

from expectations.contracts import Column, Contract, Order, Severity


def suite_for(contract: Contract) -> gx.ExpectationSuite:
    """Return the suite that a table keeps exactly when each row of it keeps `contract`.

    Keys are not judged here: what shares a key is a duplicate, which ingest resolves over all
    days. Names and types of columns are judged where a file is read.
    """
    return gx.ExpectationSuite(name=contract.feed, expectations=list(rules_of(contract)))


def rules_of(contract: Contract) -> Iterator[Expectation]:
    """Yield one expectation per rule that `contract` states, in its order."""
    for column in contract.columns:
        yield from rules_for(column)
    for order in contract.orders:
        yield rule_for(order)


def rules_for(column: Column) -> Iterator[Expectation]:
    """Yield one expectation per rule of `column`; nulls are judged by `required` alone."""
    name, severity = column.name, column.severity
    if column.required:
        told = _told("required", "critical", "must be filled in")
        yield gxe.ExpectColumnValuesToNotBeNull(column=name, **told)
    if column.allowed:
        told = _told("allowed", severity, f"must be one of: {', '.join(column.allowed)}")
        yield gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(column.allowed), **told)
    if column.pattern:
        told = _told("pattern", severity, f"must match `{column.pattern}`")
        # `$` alone also matches before a last line feed; `\Z` is the end.
        regex = rf"(?:{column.pattern})\Z"
        yield gxe.ExpectColumnValuesToMatchRegex(column=name, regex=regex, **told)
    if column.minimum is not None or column.maximum is not None:
        told = _told("range", severity, f"must be {_range(column)}")
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name, min_value=column.minimum, max_value=column.maximum, **told
        )
    if column.max_length is not None:
        told = _told("max_length", severity, f"must have at most {column.max_length} characters")
        yield gxe.ExpectColumnValueLengthsToBeBetween(
            column=name, max_value=column.max_length, **told
        )


def rule_for(order: Order) -> Expectation:
    """Return the expectation that a row's `later` is not below its `earlier`."""
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=order.later,
        column_B=order.earlier,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        **_told("order", order.severity, f"must not be before or below `{order.earlier}`"),
    )


def columns_of(rule: ExpectationConfiguration) -> tuple[str, ...]:
    """Return the columns that `rule` looks at; the first is the one that it is told of."""
    names = ("column", "column_A", "column_B")
    return tuple(rule.kwargs[name] for name in names if name in rule.kwargs)


def _told(rule: str, severity: Severity, promise: str) -> dict[str, Any]:
    return {"meta": {"rule": rule}, "notes": promise, "severity": FailureSeverity(severity)}


def _range(column: Column) -> str:
    if column.maximum is None:
        return f"at least {column.minimum:,.15g}"
    if column.minimum is None:
        return f"at most {column.maximum:,.15g}"
    return f"between {column.minimum:,.15g} and {column.maximum:,.15g}"
