"""Which rows share the values of which columns, so that these are looked up once for all of them.

Pairs come lead by lead, and few products meet many leads: of the columns of a pair, those of the
lead stay the same for a run of rows, those of the product come again and again. Which these are is
seen from the values, not taken from a name; what is found changes the time, never a result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray

FEWER = 8
"""Rows are put together where they are at least so many times as many as what they share."""

SAMPLE = 4096
"""Rows that tell which columns go together."""

FEWER_IN_SAMPLE = 2
"""The same as `FEWER` within the sample, where what is shared comes less often."""


FACTOR, SHIFT = 0x2545F4914F6CDD1D, 29
"""Make one number of several, as in Vigna (2014), "An experimental exploration of Marsaglia's
xorshift generators, scrambled"."""


@dataclass(frozen=True)
class Shared:
    """Columns that have the same values in all rows of equal code."""

    columns: tuple[int, ...]
    first: IntArray
    """Of each code, a row that has it."""
    codes: IntArray
    """Row -> code."""


def shared(matrix: FloatArray, columns: Sequence[int]) -> list[Shared]:
    """Return the groups of `columns` that rows share; a column in none differs row by row."""
    bits = {column: np.ascontiguousarray(matrix[:, column]).view(np.int64) for column in columns}
    slow = [column for column in columns if _changes(bits[column]) * FEWER <= len(matrix)]
    others = {column: bits[column] for column in columns if column not in slow}
    runs = [_runs({column: bits[column] for column in slow})] if slow else []
    return [*runs, *_repeats(_that_repeat_together(others), bits)]


def _changes(values: IntArray) -> int:
    return int(np.count_nonzero(values[1:] != values[:-1]))


def _runs(bits: Mapping[int, IntArray]) -> Shared:
    """Return the runs of rows in which no column changes."""
    is_new = np.zeros(len(next(iter(bits.values()))), dtype=bool)
    is_new[:1] = True
    for values in bits.values():
        is_new[1:] |= values[1:] != values[:-1]
    return Shared(tuple(bits), np.flatnonzero(is_new), np.cumsum(is_new) - 1)


def _that_repeat_together(bits: Mapping[int, IntArray]) -> list[int]:
    """Return columns of which a sample has few different rows, those of fewest values first."""
    samples = {column: values[:: len(values) // SAMPLE + 1] for column, values in bits.items()}
    distinct = {column: len(np.unique(sample)) for column, sample in samples.items()}
    taken: list[int] = []
    together = np.zeros(1, dtype=np.int64)
    for column in sorted(distinct, key=lambda column: (distinct[column], column)):
        mixed = _mixed(together, samples[column])
        if len(np.unique(mixed)) * FEWER_IN_SAMPLE <= len(mixed):
            taken, together = [*taken, column], mixed
    return taken


def _repeats(columns: Sequence[int], bits: Mapping[int, IntArray]) -> list[Shared]:
    """Return the rows with equal values in all of `columns`, where that puts many together."""
    if not columns:
        return []
    mixed = np.zeros(1, dtype=np.int64)
    for column in columns:
        mixed = _mixed(mixed, bits[column])
    _, first, codes = np.unique(mixed, return_index=True, return_inverse=True)
    is_few = len(first) * FEWER <= len(mixed)
    # Two rows that differ may mix to the same number, if hardly ever: so this is looked at.
    is_true = all(np.array_equal(bits[c][first][codes], bits[c]) for c in columns)
    return [Shared(tuple(columns), first, codes)] if is_few and is_true else []


def _mixed(mixed: IntArray, values: IntArray) -> IntArray:
    """Return a number for each row that differs, but for rare chance, where either differs."""
    return np.asarray((mixed ^ (mixed >> SHIFT)) * FACTOR + values)
