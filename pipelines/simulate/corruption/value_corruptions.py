"""How a value of a feed can be wrong: derived from its contract, so a new column is covered too."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from expectations.contracts import Column, Contract, Order, load

MISFITS = {
    "text": (),
    "list": ("all||", "|"),
    "integer": ("n/a", "36.5", "1,234", "T", "`"),
    "number": ("n/a", "1,234.50", "¥1234", "1 234", "1e400", "`"),
    "boolean": ("maybe", "T", "`"),
    "date": ("31/02/2020", "2024-02-30", "2020-1-5", "03/2020", "2/28/1997"),
    "timestamp": ("yesterday", "2026-01-28", "2026-01-28T10:00:00", "2026-1-5T9:00:00Z"),
}
"""Text that is no value of a type, as real feeds have it: words and currency marks where a number
is meant, separators of thousands, stray characters, times without a zone, days that don't exist
or are blurred to the month, dates the other way round or without their leading zeros."""
ODD = ("`", "0", "two words", "cny", "2026-1", "2026-13")
"""Text that some pattern or list doesn't allow."""
PERCENT = 14.95
"""A rate as a percentage, where a fraction is meant."""
LONG_AGO = "1970-01-01"
BEFORE, AFTER = "\u3000", " "
"""Blanks around a value: an ideographic one and a plain one."""
NONE = "none"
"""Severity of what ingest repairs: nothing is set aside and no value is lost."""


@dataclass(frozen=True)
class Flaw:
    """One way in which a value can be wrong."""

    column: str
    sent: str | None
    """What stands there instead, as text."""
    rule: str
    """As quarantine names it."""
    severity: str
    earlier: str = ""
    """It breaks a rule only where this column is above what is sent."""
    is_padded: bool = False
    """Whether the value itself stands there, with blanks around it."""

    @property
    def is_text(self) -> bool:
        """Whether a column of numbers or dates can't hold it."""
        return self.rule == "type" or self.is_padded or self.sent == " "


@cache
def flaws(feed: str, columns: tuple[str, ...], typed: tuple[str, ...] = ()) -> tuple[Flaw, ...]:
    """Return every way in which one value of a row can be wrong; each breaks exactly one rule.

    Args:
        feed: Which contract says so.
        columns: The columns that the row has.
        typed: Those of them that hold values of their type only, and no text.
    """
    contract = load(feed)
    of_columns = [flaw for column in contract.columns for flaw in _of_column(contract, column)]
    of_orders = [flaw for order in contract.orders for flaw in _of_order(contract, order)]
    needed = ({flaw.column, flaw.earlier or flaw.column} for flaw in of_columns + of_orders)
    possible = zip(of_columns + of_orders, needed, strict=True)
    return tuple(
        flaw
        for flaw, names in possible
        if names <= set(columns) and not (flaw.is_text and flaw.column in typed)
    )


@cache
def as_columns(those: tuple[Flaw, ...]) -> pa.RecordBatch:
    """Return flaws as columns: `column`, `sent`, `rule`, `severity`, `is_padded`, `is_text`."""
    texts = {
        name: pa.array([getattr(flaw, name) for flaw in those], pa.string())
        for name in ("column", "sent", "rule", "severity")
    }
    marks = {
        name: pa.array([getattr(flaw, name) for flaw in those], pa.bool_())
        for name in ("is_padded", "is_text")
    }
    return pa.record_batch(texts | marks)


def _of_column(contract: Contract, column: Column) -> Iterator[Flaw]:
    def flaw(sent: str | None, rule: str, severity: str = column.severity) -> Flaw:
        return Flaw(column.name, sent, rule, severity)

    yield Flaw(column.name, None, "white_space", NONE, is_padded=True)
    if column.required:
        yield from (flaw(blank, "required", "critical") for blank in (None, " "))
    if column.allowed:
        odd = [*ODD, column.allowed[0].upper()]
        yield from (flaw(text, "allowed") for text in odd if text not in column.allowed)
    if column.pattern:
        odd = [text for text in ODD if not re.fullmatch(column.pattern, text)]
        yield from (flaw(text, "pattern") for text in odd)
    if column.max_length is not None:
        long = "x" * (column.max_length + 1)
        if re.fullmatch(column.pattern or ".*", long):
            yield flaw(long, "max_length")
    yield from (flaw(text, "range") for text in _out_of_range(contract, column))
    yield from (flaw(text, "type") for text in MISFITS[column.type])


def _out_of_range(contract: Contract, column: Column) -> Iterator[str]:
    """Yield numbers beyond the limits, on the side on which no order is broken as well."""
    if column.minimum is not None and column.name not in {o.later for o in contract.orders}:
        yield _number(column.minimum - 1)
    if column.maximum is not None and column.name not in {o.earlier for o in contract.orders}:
        is_rate = column.type == "number" and column.maximum < PERCENT
        yield _number(PERCENT if is_rate else 10 * column.maximum)


def _of_order(contract: Contract, order: Order) -> Iterator[Flaw]:
    """Yield the least value that `later` may have, which is below nearly every `earlier`."""
    later = contract[order.later]
    least = LONG_AGO if later.type == "date" else later.minimum
    if order.severity != "info" and least is not None:
        sent = least if isinstance(least, str) else _number(least)
        yield Flaw(order.later, sent, "order", order.severity, order.earlier)


def _number(value: float) -> str:
    return f"{value:.15g}"
