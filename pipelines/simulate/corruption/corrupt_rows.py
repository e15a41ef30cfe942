"""Break rows of a file: values that its contract doesn't allow, blanks around them, rows twice."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.simulate.corruption.corruption_log import KEY, Sending, of_repeats, of_values
from pipelines.simulate.corruption.file_corruptions import PARQUET
from pipelines.simulate.corruption.value_corruptions import (
    AFTER,
    BEFORE,
    Flaw,
    as_columns,
    flaws,
)
from pipelines.simulate.keyed_random import Chance
from pipelines.simulate.write_feeds import as_text, utc

REPEATED = 0.25
"""Of the broken share, so many rows besides are sent twice as they are."""
STRETCH = 4096
"""Broken rows lie in a stretch of so many rows of the file,"""
SCARCE = 8
"""or of so many times their own number, if that is more."""


def soiled(
    chance: Chance, sending: Sending, table: pa.Table, share: float
) -> tuple[pa.Table, IntArray, pa.Table]:
    """Break some rows of a file, and repeat some.

    A sender's fault lasts for a while, so the broken rows of a file lie in one stretch of it. It
    alone is written anew: a big file is not copied for a few broken rows.

    Args:
        chance: The world's.
        sending: Which file.
        table: Its rows, typed or as text.
        share: Share of rows that are broken, about, 0 to 1.

    Returns:
        The rows as they are sent, the positions in `table` of those that are sent with a flaw
        only, and the answer key (`KEY`). A column with a value that is no such type is text as a
        whole; in Parquet it keeps its type, so there it has no such value.
    """
    contract, rows = sending.contract, table.num_rows
    most = rows if contract.full_catalogue else rows // 2
    count = min(most, _some(chance, "broken rows", sending, share * rows))
    repeats = _some(chance, "repeated rows", sending, share * rows * REPEATED)
    if not count + repeats:
        return table, np.arange(0), KEY.empty_table()
    length = min(rows, max(STRETCH, SCARCE * count))
    begin = int(chance.below("stretch", rows - length + 1, sending.address)[0])
    place = np.unique(chance.below("dirt", length, sending.address, np.arange(count)))
    possible = flaws(sending.feed, tuple(table.column_names), _typed(sending, table))
    way = chance.below("flaw", len(possible), sending.address, begin + place)
    stretch = table.slice(begin, length)
    applies = _apply(contract, stretch, place, possible, way)
    place, way = place[applies], as_columns(possible).take(pa.array(way[applies]))
    is_beside = contract.full_catalogue & np.asarray(pc.equal(way["severity"], "critical"))
    flawed, beside = begin + place[~is_beside], stretch.take(pa.array(place[is_beside]))
    place[is_beside] = np.arange(length, length + beside.num_rows)
    line = np.concatenate(
        [np.arange(begin, begin + length), np.arange(rows, rows + beside.num_rows)]
    )
    anew, key = with_flaws(sending, pa.concat_tables([stretch, beside]), line, place, way)
    repeated = chance.below("repeated", rows, sending.address, np.arange(repeats))
    repeated = np.setdiff1d(repeated, flawed)
    pieces = [
        table.slice(0, begin),
        anew.slice(0, length),
        table.slice(begin + length),
        anew.slice(length),
        table.take(pa.array(repeated)),
    ]
    sent = pa.concat_tables([_like(piece, anew.schema) for piece in pieces])
    twice = np.arange(sent.num_rows - repeated.size, sent.num_rows)
    return sent, flawed, pa.concat_tables([key, of_repeats(sending, twice)])


def _some(chance: Chance, topic: str, sending: Sending, expected: float) -> int:
    """Return a whole number that is `expected` on average."""
    return int(expected + chance.uniform(topic, sending.address)[0])


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with those columns as text that are text in `schema`."""
    for number, field in enumerate(schema):
        if table.schema.field(number).type != field.type:
            text = as_text(table.select([field.name]), utc)[field.name]
            table = table.set_column(number, field.name, text)
    return table


def _typed(sending: Sending, table: pa.Table) -> tuple[str, ...]:
    """Return the columns that can't hold any text."""
    if sending.form not in PARQUET:
        return ()
    return tuple(field.name for field in table.schema if not pa.types.is_string(field.type))


def _apply(
    contract: Contract, table: pa.Table, broken: IntArray, possible: tuple[Flaw, ...], way: IntArray
) -> BoolArray:
    """Return which rows break by the way chosen for each: some ways need a value to be there."""
    applies = np.ones(broken.size, bool)
    for number in np.unique(way).tolist():
        flaw, these = possible[number], way == number
        if flaw.is_padded or flaw.earlier:
            value = table[flaw.earlier or flaw.column].take(pa.array(broken[these]))
            breaks = value.is_valid()
            if flaw.earlier:
                type_ = contract[flaw.earlier].arrow_type
                breaks = pc.greater(value.cast(type_), pa.scalar(flaw.sent).cast(type_))
            applies[these] = pc.coalesce(breaks, pa.scalar(value=False)).to_numpy()
    return applies


def with_flaws(
    sending: Sending, table: pa.Table, rows: IntArray, place: IntArray, way: pa.RecordBatch
) -> tuple[pa.Table, pa.Table]:
    """Return `table` with a value broken in some rows, and the answers.

    Args:
        sending: The file.
        table: Some of its rows.
        rows: Their positions in it.
        place: Positions in `table` of those that are broken, each once.
        way: How each of them is broken, see `as_columns`.
    """
    in_order = np.argsort(place)
    place, way = place[in_order], way.take(pa.array(in_order))
    answers = []
    for name in pc.unique(way["column"]).to_pylist():
        these = pc.equal(way["column"], name)
        those, at = way.filter(these), place[np.asarray(these)]
        column = table[name]
        if pc.any(those["is_text"]).as_py():
            column = as_text(table.select([name]), utc)[name]
        sent = those["sent"]
        if pc.any(those["is_padded"]).as_py():
            value = column.take(pa.array(at)).combine_chunks()
            padded = pc.binary_join_element_wise(BEFORE, value, AFTER, "")
            sent = pc.if_else(those["is_padded"], padded, sent)
        is_flawed = np.zeros(table.num_rows, bool)
        is_flawed[at] = True
        column = pc.replace_with_mask(column, pa.array(is_flawed), sent.cast(column.type))
        table = table.set_column(table.schema.get_field_index(name), name, column)
        answers.append(of_values(sending, rows[at], those, sent))
    return table, pa.concat_tables([KEY.empty_table(), *answers])
