"""Great Expectations suites, derived from the contracts: one expectation per rule.

The `meta` of an expectation holds the rule's short name and its `notes` the requirement, as
quarantine and report state them.
"""

from collections.abc import Iterator
from typing import Any

import great_expectations.expectations as gxe
from great_expectations.expectations import row_conditions
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity

from expectations import policy
from expectations.contracts import Column, ConditionalPattern, Contract, Order, Severity
from expectations.outbound_contracts import OutboundContract


def make_expectations(contract: Contract) -> Iterator[Expectation]:
    """Yield one expectation per rule of `contract`, in its order.

    Keys are not checked here: rows that share a key are duplicates, which ingest resolves over
    all days. Names and types of columns are checked where a file is read.
    """
    for column in contract.columns:
        yield from column_expectations(column)
    for column in contract.columns:
        yield from conditional_maximum_expectations(column)
    for pattern in contract.conditional_patterns:
        yield conditional_expectation(pattern)
    for order in contract.orders:
        yield order_expectation(order)


def make_outgoing_expectations(contract: OutboundContract) -> Iterator[Expectation]:
    """Yield one expectation per rule of an outgoing table, in the order of its columns.

    A column that holds objects has rules within them, which Great Expectations can't see.
    """
    for column in contract.possible_columns:
        if not column.members:
            yield from column_expectations(column)


def column_expectations(column: Column) -> Iterator[Expectation]:
    """Yield one expectation per rule of `column`; only `required` applies to nulls."""
    name, severity = column.name, column.severity
    if column.required:
        rule = _describe_rule("required", "critical", "must be filled in")
        yield gxe.ExpectColumnValuesToNotBeNull(column=name, **rule)
    if column.allowed:
        values = list(column.allowed)
        rule = _describe_rule("allowed", severity, f"must be one of: {', '.join(values)}")
        yield gxe.ExpectColumnValuesToBeInSet(column=name, value_set=values, **rule)
    if column.pattern:
        rule = _describe_rule("pattern", severity, f"must match `{column.pattern}`")
        # `$` alone also matches before a last line feed; `\Z` is the end.
        regex = rf"(?:{column.pattern})\Z"
        yield gxe.ExpectColumnValuesToMatchRegex(column=name, regex=regex, **rule)
    if column.minimum is not None or column.maximum is not None:
        rule = _describe_rule("range", severity, f"must be {_describe_range(column)}")
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name, min_value=column.minimum, max_value=column.maximum, **rule
        )
    if column.currency:
        codes = list(policy.currency_codes())
        rule = _describe_rule("currency", severity, "must be a currency of ISO 4217, such as CNY")
        yield gxe.ExpectColumnValuesToBeInSet(column=name, value_set=codes, **rule)
    if column.max_length is not None:
        requirement = f"must have at most {column.max_length} characters"
        rule = _describe_rule("max_length", severity, requirement)
        yield gxe.ExpectColumnValueLengthsToBeBetween(
            column=name, max_value=column.max_length, **rule
        )


def conditional_maximum_expectations(column: Column) -> Iterator[Expectation]:
    """Yield the expectation of each maximum that applies to some rows."""
    if column.maximum_by is None:
        return
    when = column.maximum_by.column
    for value, maximum in column.maximum_by.values:
        requirement = f"must be at most {maximum:,.15g} where `{when}` is {value}"
        rule = _describe_rule("conditional_range", column.severity, requirement)
        rule["meta"] |= {"when": when, "value": value}
        yield gxe.ExpectColumnValuesToBeBetween(
            column=column.name,
            max_value=maximum,
            row_condition=row_conditions.Column(when).is_in([value]),
            **rule,
        )


def conditional_expectation(pattern: ConditionalPattern) -> Expectation:
    """Return the expectation of a pattern that applies to some rows; `meta` names their column."""
    rule = _describe_rule(
        "conditional_pattern",
        pattern.severity,
        f"must {pattern.requirement} where `{pattern.when}` is {' or '.join(pattern.values)}",
    )
    rule["meta"]["when"] = pattern.when
    return gxe.ExpectColumnValuesToMatchRegex(
        column=pattern.column,
        regex=rf"(?:{pattern.pattern})\Z",
        row_condition=row_conditions.Column(pattern.when).is_in(list(pattern.values)),
        **rule,
    )


def order_expectation(order: Order) -> Expectation:
    """Return the expectation that a row's `later` is not below its `earlier`."""
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=order.later,
        column_B=order.earlier,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        **_describe_rule("order", order.severity, f"must not be before or below `{order.earlier}`"),
    )


def _describe_rule(rule: str, severity: Severity, requirement: str) -> dict[str, Any]:
    return {"meta": {"rule": rule}, "notes": requirement, "severity": FailureSeverity(severity)}


def _describe_range(column: Column) -> str:
    if column.maximum is None:
        return f"at least {column.minimum:,.15g}"
    if column.minimum is None:
        return f"at most {column.maximum:,.15g}"
    return f"between {column.minimum:,.15g} and {column.maximum:,.15g}"


def list_columns(rule: ExpectationConfiguration) -> tuple[str, ...]:
    """Return the columns that `rule` evaluates; violations are reported for the first."""
    names = ("column", "column_A", "column_B")
    columns = [rule.kwargs[name] for name in names if name in rule.kwargs]
    return (*columns, *([rule.meta["when"]] if rule.meta and "when" in rule.meta else []))
