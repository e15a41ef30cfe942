"""Broken rows, as real feeds have them, with the key that says which rule each one breaks."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.simulate.chance import Chance
from pipelines.simulate.requests import Address


@dataclass(frozen=True)
class Dirt:
    """One way to break a value."""

    column: str
    sent: str | float | None
    rule: str
    severity: str
    only_text: bool = False
    """Whether a file with types can't hold it."""


KINDS = (
    Dirt("amount", -5000.0, "range", "critical"),
    Dirt("amount", "n/a", "type", "critical", only_text=True),
    Dirt("segment", "personal", "allowed", "critical"),
    Dirt("captured_at", None, "required", "critical"),
    Dirt("captured_at", "yesterday", "type", "critical", only_text=True),
    Dirt("currency", "RMB yuan", "pattern", "critical"),
    Dirt("income_monthly", -1.0, "range", "warning"),
    Dirt("employment", "freelance", "allowed", "warning"),
    Dirt("term_months", 0, "range", "warning"),
    Dirt("established_on", "31/02/2020", "type", "warning", only_text=True),
)
REPEATED = 0.25
"""Of the broken share, so many rows besides are sent twice as they are."""


def soiled(
    chance: Chance, table: pa.Table, at: Address, share: float, *, is_text: bool
) -> tuple[pa.Table, pa.Table]:
    """Break some rows of a leads file.

    Args:
        chance: The world's.
        table: Rows of the leads feed, of one file.
        at: Where in the world each row is.
        share: Share of rows that are broken, 0 to 1.
        is_text: Whether the file holds text, so that a number may be no number.

    Returns:
        The rows as they are sent, and the answer key: `lead_id`, `column`, `sent`, `rule`,
        `severity`, one row for each broken value or repeated row.
    """
    broken = chance.uniform("dirt", *at) < share
    kind = chance.below("kind of dirt", len(KINDS), *at)
    key = []
    for number, dirt in enumerate(KINDS):
        these = broken & (kind == number)
        if not these.any() or (dirt.only_text and not is_text):
            continue
        field = table.schema.field(dirt.column)
        value = pa.scalar(None if dirt.sent is None else dirt.sent)
        if is_text and dirt.sent is not None:
            value = pa.scalar(f"{dirt.sent:g}" if isinstance(dirt.sent, float) else str(dirt.sent))
        column = pc.if_else(pa.array(these), value.cast(field.type), table[dirt.column])
        table = table.set_column(table.schema.get_field_index(dirt.column), field, column)
        key.append(_answers(table.filter(pa.array(these)), dirt))
    repeated = ~broken & (chance.uniform("repeated", *at) < share * REPEATED)
    twice = table.filter(pa.array(repeated))
    key.append(_answers(twice, Dirt("lead_id", "the row again", "duplicate", "info")))
    return pa.concat_tables([table, twice]), pa.concat_tables(key)


def _answers(rows: pa.Table, dirt: Dirt) -> pa.Table:
    count = rows.num_rows
    said = {
        "column": dirt.column,
        "sent": None if dirt.sent is None else str(dirt.sent),
        "rule": dirt.rule,
        "severity": dirt.severity,
    }
    columns = {name: pa.array([value] * count, pa.string()) for name, value in said.items()}
    return pa.table({"lead_id": rows["lead_id"].cast(pa.string())} | columns)
