"""Columns of a table as arrays: numbers, and what is computed of each entry of a dictionary once.

A pair has the columns of its lead and of its product, so most values of a table of pairs repeat.
Such columns come as Arrow dictionaries (`pipelines.pairs.scoring`): the values of the leads, or of
the products, and the place of each row among them. A function of single values is applied to the
entries and not to the rows.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import MissingColumns
from pipelines.core.arrays import FloatArray, IntArray

Values = TypeVar("Values", FloatArray, IntArray)


def to_floats(table: pa.Table, name: str) -> FloatArray:
    """Return a column of numbers or booleans as floats; nan if a value is unknown.

    Raises:
        MissingColumns: `table` has no such column.
    """
    if name not in table.column_names:
        raise MissingColumns([name])
    return compute_by_entry(table[name], convert_to_floats)


def convert_to_floats(column: pa.ChunkedArray | pa.Array) -> FloatArray:
    """Return numbers or booleans as floats; nan if a value is unknown or no finite number."""
    values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    return np.asarray(np.where(np.isfinite(values), values, np.nan), dtype=np.float64)


def compute_by_entry(
    column: pa.ChunkedArray, compute: Callable[[pa.ChunkedArray | pa.Array], Values]
) -> Values:
    """Return `compute(column)`; of a dictionary, computed once for each entry and then spread.

    Args:
        column: Of any type; a row of a dictionary has an entry, which may be null.
        compute: Returns a value for each value, of that value alone.
    """
    if not pa.types.is_dictionary(column.type):
        return compute(column)
    if column.num_chunks == 1 and len(column):
        return _spread(column.chunk(0), compute)
    empty = compute(pa.array([], column.type.value_type))
    parts: list[Values] = [_spread(chunk, compute) for chunk in column.chunks if len(chunk)]
    whole: Values = np.concatenate([empty, *parts])
    return whole


def _spread(
    chunk: pa.DictionaryArray, compute: Callable[[pa.ChunkedArray | pa.Array], Values]
) -> Values:
    """Return the value of each row's entry; a slice of rows reads the entries that it can use."""
    entry = chunk.indices.to_numpy(zero_copy_only=True)
    first, last = int(entry.min()), int(entry.max())
    values = compute(chunk.dictionary.slice(first, last - first + 1))
    of_rows: Values = values.take(entry - first)
    return of_rows
