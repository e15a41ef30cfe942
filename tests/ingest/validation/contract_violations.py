"""Rows that break each rule of each contract.

The YAML is read without the classes that the suites are derived from, so that the tests find a
rule that these classes omit.
"""

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import yaml

from expectations.contracts import FOLDER
from tests.helpers.feeds import GOOD

FEEDS = sorted(GOOD)

BREAKS_PATTERN = {
    r"^\S+$": ["a b", "a\tb", " a", "a\n"],
    r"^(?![0-9](?:[.][0-9]+)?E[+][0-9]+$)\S+$": ["a b", " a", "a\n", "2.60110E+14", "2E+14"],
    "^[a-z0-9][a-z0-9_-]{0,63}$": ["Bank", "-bank", "bank 1", "b" * 65],
    r"^\d{4}-(?:0[1-9]|1[0-2])$": ["2026-13", "2026-00", "2026-1", "2026-10-01", "202610"],
    "^[0-9a-fA-F]{64}$": ["a" * 63, "a" * 65, "g" * 64, "a" * 64 + "\n"],
    "^[a-z][a-z0-9_]*$": ["Income", "1st", "a-b", "a b"],
}

NO_CURRENCIES = ["RMB", "cny", "CN", "CNYX", "CNY\n", "人民币", "XXX", "XAU", "HRK", "156"]


Violation = tuple[str, str, str]
"""Column, rule and severity."""


@dataclass(frozen=True)
class Case:
    """A row that breaks rules, and every rule that it breaks."""

    feed: str
    changes: dict[str, Any]
    violations: list[Violation]

    def __str__(self) -> str:
        return f"{self.feed}: " + ", ".join(
            f"{rule} of {name}" for name, rule, _ in self.violations
        )


@cache
def read_contract(feed: str) -> dict[str, Any]:
    """Return the content of the contract's YAML."""
    return yaml.safe_load((FOLDER / f"{feed}.yml").read_text("utf-8"))


def cases(feed: str) -> Iterator[Case]:
    """Yield at least one case for every rule of the feed."""
    contract = read_contract(feed)
    for column in contract["columns"]:
        name, severity = column["name"], column.get("severity", "critical")
        for rule, value in _invalid_values(column):
            violation = (name, rule, "critical" if rule == "required" else severity)
            orders = _broken_orders(contract, GOOD[feed] | {name: value}) if rule == "range" else []
            yield Case(feed, {name: value}, sorted([violation, *orders]))
    for name, when, value, maximum in conditional_maxima(contract):
        for above in (math.nextafter(maximum, math.inf), 110105198808082707.0, math.inf):
            violation = (name, "conditional_range", "critical")
            yield Case(feed, {when: value, name: above}, [violation])
    for pattern in contract.get("conditional_patterns", []):
        for value in ("+8613800138000", "sha256:" + "a" * 64, "f" * 32, "a" * 64 + "\n"):
            changes = {pattern["when"]: pattern["values"][0], pattern["column"]: value}
            violation = (pattern["column"], "conditional_pattern", "critical")
            yield Case(feed, changes, [violation])
    for order in contract.get("orders", []):
        changes = {order["later"]: _below(GOOD[feed][order["earlier"]])}
        yield Case(feed, changes, _broken_orders(contract, GOOD[feed] | changes))


def conditional_maxima(contract: dict[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    """Yield column, other column, its value and the maximum that then applies."""
    for column in contract["columns"]:
        if by := column.get("maximum_by"):
            for value, maximum in by["values"].items():
                yield column["name"], by["column"], value, maximum


def _broken_orders(contract: dict[str, Any], row: dict[str, Any]) -> list[Violation]:
    """Return the orders that `row` breaks; a value out of its range can break one too."""
    return [
        (order["later"], "order", order.get("severity", "critical"))
        for order in contract.get("orders", [])
        if row[order["later"]] < row[order["earlier"]]
    ]


def boundary_values(feed: str) -> Iterator[tuple[str, Any]]:
    """Yield (column, value) with each allowed value, bound and greatest length of a column."""
    for column in read_contract(feed)["columns"]:
        for bound in ("minimum", "maximum"):
            if bound in column:
                yield column["name"], column[bound]
        if "max_length" in column and "pattern" not in column:
            yield column["name"], "很" * column["max_length"]
        yield from ((column["name"], value) for value in column.get("allowed", ()))


def random_rows(feed: str, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return rows whose values are valid, missing or invalid at random."""
    dice = random.Random(seed)
    values = {
        column["name"]: [GOOD[feed][column["name"]], None, *(v for _, v in _invalid_values(column))]
        for column in read_contract(feed)["columns"]
    }
    return [{name: dice.choice(some) for name, some in values.items()} for _ in range(rows)]


def broken_rules(feed: str, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (column, rule) for every rule that `row` breaks, evaluated in Python."""
    contract = read_contract(feed)
    for column in contract["columns"]:
        name, value = column["name"], row[column["name"]]
        if value is None or value == []:
            if column.get("required"):
                yield name, "required"
            continue
        if "allowed" in column and value not in column["allowed"]:
            yield name, "allowed"
        if "pattern" in column and not re.fullmatch(column["pattern"].strip("^$"), value):
            yield name, "pattern"
        low, high = column.get("minimum", -math.inf), column.get("maximum", math.inf)
        if isinstance(value, int | float) and not low <= value <= high:
            yield name, "range"
        if "currency" in column and value in NO_CURRENCIES:
            yield name, "currency"
        if len(str(value)) > column.get("max_length", math.inf):
            yield name, "max_length"
    yield from _broken_rules_of_two_columns(contract, row)


def _broken_rules_of_two_columns(
    contract: dict[str, Any], row: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    for name, when, value, maximum in conditional_maxima(contract):
        if row[when] == value and row[name] is not None and row[name] > maximum:
            yield name, "conditional_range"
    for pattern in contract.get("conditional_patterns", []):
        value, applies = row[pattern["column"]], row[pattern["when"]] in pattern["values"]
        if applies and value and not re.fullmatch(pattern["pattern"].strip("^$"), value):
            yield pattern["column"], "conditional_pattern"
    for order in contract.get("orders", []):
        earlier, later = row[order["earlier"]], row[order["later"]]
        if earlier is not None and later is not None and later < earlier:
            yield order["later"], "order"


def _invalid_values(column: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if column.get("required"):
        yield "required", None
        if column["type"] == "list":
            yield "required", []
    if "allowed" in column:
        yield "allowed", column["allowed"][0].upper()
        yield "allowed", ""
    if "pattern" in column:
        yield from (("pattern", value) for value in BREAKS_PATTERN[column["pattern"]])
    if "currency" in column:
        yield from (("currency", value) for value in NO_CURRENCIES)
    whole = column["type"] == "integer"
    if "minimum" in column:
        low = column["minimum"]
        yield "range", low - 1 if whole else math.nextafter(low, -math.inf)
    if "maximum" in column:
        high = column["maximum"]
        yield "range", high + 1 if whole else math.nextafter(high, math.inf)
        yield from () if whole else [("range", math.inf)]
    if "max_length" in column:
        yield "max_length", "x" * (column["max_length"] + 1)


def _below(value: Any) -> Any:
    if isinstance(value, int):
        return value - 1
    if isinstance(value, float):
        return value * 0.999
    return value - timedelta(days=1)
