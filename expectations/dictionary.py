"""The data dictionary of the feeds, derived from the contracts."""

from collections.abc import Iterable, Iterator

from expectations.contracts import LINEAGE, Column, Contract, SaferFirst
from expectations.suites import (
    column_expectations,
    conditional_expectation,
    conditional_maximum_expectations,
    order_expectation,
)

PATH = "docs/data-dictionary.md"

HEADER = """\
# Data dictionary

Derived from `expectations/contracts/*.yml` by `make docs`; edit the contracts instead.

The contract of each feed, and the columns of `lake/FEED/date=D/FEED.parquet`. A file lands as
`landing/FEED/SOURCE/YYYY-MM-DD/NAME.{csv,jsonl,parquet}`. Effect of a broken rule:

| severity | effect |
| --- | --- |
| critical | the row is quarantined |
| warning | the value is emptied, the row is loaded; the row as received is kept in quarantine |
| info | it is counted in the manifest and the report, nothing else |

**Personal** columns identify a person and leave the lake only in a delivery. **Protected**
columns are never a feature; only the fairness report reads them.

Placeholders such as `NULL` are missing values in every column; the words are in
`expectations/policy/placeholders.yml`. They are counted as rule `placeholder` (info).
"""


def render_dictionary(contracts: Iterable[Contract]) -> str:
    """Return the data dictionary as Markdown: a section per feed, then the columns all share."""
    return "\n".join([HEADER, *map(_section, contracts), _shared()])


def _section(contract: Contract) -> str:
    lines = [
        f"## {contract.feed}",
        "",
        contract.description,
        "",
        *_facts(contract),
        "",
        *_received(contract.columns),
    ]
    if contract.derived:
        lines += ["", "Added by ingest:", "", *_added(contract.derived)]
    return "\n".join(lines) + "\n"


def _shared() -> str:
    return "\n".join(["## In every feed", "", "Added by ingest:", "", *_added(LINEAGE)]) + "\n"


def _facts(contract: Contract) -> Iterator[str]:
    span = "all days ever received" if contract.unique_within == "history" else "one business date"
    yield f"- SOURCE is the `{contract.source_column}`."
    yield f"- Key: {_names(contract.key)}; unique within {span}."
    yield f"- Of rows that share a key, the first by {_first_by(contract)} is loaded."
    yield from _restricting_facts(contract)
    if contract.recorded_at:
        yield f"- Known from `{contract.recorded_at}`, but never before the day it came in."
    if contract.full_catalogue:
        yield "- A full catalogue: each day's rows replace the source's earlier ones."
    for pattern in contract.conditional_patterns:
        rule = conditional_expectation(pattern)
        yield f"- `{pattern.column}` {rule.notes} ({rule.severity.value})."
    for order in contract.orders:
        rule = order_expectation(order)
        yield f"- `{order.later}` {rule.notes} ({rule.severity.value})."


ACTIONS = {
    "close_product": "its product is closed",
    "close_institution": "every product of its institution is closed",
    "hold_delivery": "every delivery that it may concern is held",
    "suppress_subject": "the person or lead that it names is suppressed",
    "keep_previous": "nothing more is closed",
}
"""Action of `on_unreadable` -> its effect."""


def _restricting_facts(contract: Contract) -> Iterator[str]:
    if contract.person:
        yield (
            f"- Rows of one key that name different persons by {_names(contract.person)} are "
            "quarantined."
        )
    if contract.on_unreadable is None:
        return
    yield f"- A file that can't be read: {ACTIONS[contract.on_unreadable.file]}."
    yield f"- A row that can't be read: {ACTIONS[contract.on_unreadable.row]}."
    for column in contract.columns:
        if column.on_unreadable:
            yield f"- `{column.name}` that can't be read: {ACTIONS[column.on_unreadable]}."


def _received(columns: Iterable[Column]) -> Iterator[str]:
    yield "| column | type | meaning | rules |"
    yield "| --- | --- | --- | --- |"
    for column in columns:
        expectations = (*column_expectations(column), *conditional_maximum_expectations(column))
        rules = [f"{rule.notes} ({rule.severity.value})" for rule in expectations]
        if column.ceiling is not None:
            rules.append(f"a number above {column.ceiling:,} counts as {column.ceiling:,}")
        if column.days_ahead is not None:
            ahead = f"at most {column.days_ahead} days after the date of its file"
            rules.append(f"{ahead} ({column.severity})")
        if column.days_back is not None:
            back = f"at most {column.days_back:,} days before the date of its file"
            rules.append(f"{back} ({column.severity})")
        if not column.placeholders:
            rules.append("a word such as NULL is a value, no placeholder")
        if column.placeholder_pattern:
            rules.append(f"`{column.placeholder_pattern}` is a placeholder, a missing value")
        yield _row(f"`{column.name}`", column.type, _meaning(column), "; ".join(rules))


def _added(columns: Iterable[Column]) -> Iterator[str]:
    yield "| column | type | meaning |"
    yield "| --- | --- | --- |"
    for column in columns:
        yield _row(f"`{column.name}`", column.type, _meaning(column))


def _meaning(column: Column) -> str:
    marks = [mark for mark in ("personal", "protected") if getattr(column, mark)]
    return " ".join([column.description, *(f"**{mark.capitalize()}.**" for mark in marks)])


def _first_by(contract: Contract) -> str:
    safer = [
        f"`{criterion.column}` ({_criterion(criterion)})" for criterion in contract.safer_first
    ]
    columns = [*safer, *(f"`{name}`" for name in contract.duplicates)]
    return f"{', '.join(columns)}, then all columns" if columns else "all columns"


def _criterion(criterion: SaferFirst) -> str:
    if criterion.order:
        return ", ".join(criterion.order)
    if criterion.known_first:
        return "known first"
    return "largest first" if criterion.largest_first else "smallest first"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
