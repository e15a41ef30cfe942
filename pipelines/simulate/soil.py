"""Break rows of a file: values that its contract doesn't allow, blanks around them, rows twice."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from expectations.contracts import Contract
from pipelines.simulate.answer_key import KEY, Sending, of_repeats, of_values
from pipelines.simulate.chance import Chance, Ints
from pipelines.simulate.flaws import AFTER, BEFORE, Flaw, as_columns, flaws
from pipelines.simulate.land import as_text, utc

REPEATED = 0.25
"""Of the broken share, so many rows besides are sent twice as they are."""


def soiled(
    chance: Chance, sending: Sending, table: pa.Table, share: float
) -> tuple[pa.Table, Ints, pa.Table]:
    """Break some rows of a file, and repeat some.

    Args:
        chance: The world's.
        sending: Which file.
        table: Its rows, typed or as text.
        share: Share of rows that are broken, 0 to 1.

    Returns:
        The rows as they are sent, the positions in `table` of those that are sent without a flaw,
        and the answer key (`KEY`). A column in which one value is no such type is text as a whole.
    """
    contract, address, row = sending.contract, sending.address, np.arange(table.num_rows)
    most = row.size if contract.full_catalogue else row.size // 2
    broken = np.flatnonzero(chance.uniform("dirt", address, row) < share)[:most]
    repeats = chance.uniform("repeated", address, row) < share * REPEATED
    if not broken.size and not repeats.any():
        return table, row, KEY.empty_table()
    possible = flaws(sending.feed, tuple(table.column_names))
    way = chance.below("flaw", len(possible), address, broken)
    applies = _apply(contract, table, broken, possible, way)
    broken, way = broken[applies], as_columns(possible).take(pa.array(way[applies]))
    is_beside = contract.full_catalogue & np.asarray(pc.equal(way["severity"], "critical"))
    clean = np.delete(row, broken[~is_beside])
    repeated = clean[repeats[clean]]
    more = np.concatenate([broken[is_beside], repeated])
    place = broken.copy()
    place[is_beside] = np.arange(row.size, row.size + int(is_beside.sum()))
    sent, key = with_flaws(sending, pa.concat_tables([table, table.take(pa.array(more))]), place, way)
    twice = np.arange(sent.num_rows - repeated.size, sent.num_rows)
    return sent, clean, pa.concat_tables([key, of_repeats(sending, twice)])


def _apply(
    contract: Contract, table: pa.Table, broken: Ints, possible: tuple[Flaw, ...], way: Ints
) -> NDArray[np.bool_]:
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
    sending: Sending, table: pa.Table, place: Ints, way: pa.RecordBatch
) -> tuple[pa.Table, pa.Table]:
    """Return `table` with a value broken in some rows, and the answers.

    Args:
        sending: The file.
        table: Its rows.
        place: Positions of the rows, each once.
        way: How each is broken, see `as_columns`.
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
            padded = pc.binary_join_element_wise(
                BEFORE, column.take(pa.array(at)).combine_chunks(), AFTER, ""
            )
            sent = pc.if_else(those["is_padded"], padded, sent)
        is_flawed = np.zeros(table.num_rows, bool)
        is_flawed[at] = True
        column = pc.replace_with_mask(column, pa.array(is_flawed), sent.cast(column.type))
        table = table.set_column(table.schema.get_field_index(name), name, column)
        answers.append(of_values(sending, at, those, sent))
    return table, pa.concat_tables([KEY.empty_table(), *answers])
