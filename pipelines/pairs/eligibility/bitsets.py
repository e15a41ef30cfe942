"""Sets of products as bits: one bit for each open product, 64 bits a word.

Bit `j % 64` of word `j // 64` is the product with `product_row` j. A thousand products are 16
words, so the eligible products of a lead take 128 bytes, and an intersection is one `&` a word.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, IntArray

Bitsets = NDArray[np.uint64]
"""Shape (rows, words): a set of products for each row."""

WORD_BITS = 64
_LITTLE_ENDIAN = np.dtype("<u8")


def count_words(products: int) -> int:
    """Return how many words hold a bit for each product; at least one."""
    return max(1, -(-products // WORD_BITS))


def pack(flags: BoolArray) -> Bitsets:
    """Return flags, shape (..., products), as bitsets, shape (..., words)."""
    padding = count_words(flags.shape[-1]) * WORD_BITS - flags.shape[-1]
    padded = np.pad(flags, [(0, 0)] * (flags.ndim - 1) + [(0, padding)])
    octets = np.packbits(padded, axis=-1, bitorder="little")
    return np.ascontiguousarray(octets).view(_LITTLE_ENDIAN).astype(np.uint64, copy=False)


def unpack(bitsets: Bitsets, products: int) -> BoolArray:
    """Return bitsets, shape (rows, words), as flags, shape (rows, products)."""
    octets = np.ascontiguousarray(bitsets.astype(_LITTLE_ENDIAN, copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=products, bitorder="little").view(np.bool_)


def to_column(bitsets: Bitsets) -> pa.Array:
    """Return bitsets as an Arrow column, fixed-size binary of 8 bytes a word."""
    octets = np.ascontiguousarray(bitsets.astype(_LITTLE_ENDIAN, copy=False))
    kind = pa.binary(octets.dtype.itemsize * bitsets.shape[1])
    return pa.Array.from_buffers(kind, len(bitsets), [None, pa.py_buffer(octets)])


def from_column(column: pa.ChunkedArray) -> Bitsets:
    """Return the bitsets of a column that `to_column` made."""
    words = column.type.byte_width // _LITTLE_ENDIAN.itemsize
    parts = [
        np.frombuffer(chunk.buffers()[1], _LITTLE_ENDIAN).reshape(-1, words)[
            chunk.offset : chunk.offset + len(chunk)
        ]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([np.empty((0, words), np.uint64), *parts])


def count_products(bitsets: Bitsets) -> IntArray:
    """Return the number of products in each row."""
    return np.asarray(np.bitwise_count(bitsets).sum(axis=-1, dtype=np.int64))


def unite_runs(bitsets: Bitsets, starts: IntArray, lengths: IntArray) -> Bitsets:
    """Return the union of each run of rows; the union of an empty run is empty.

    Args:
        bitsets: Sets, shape (rows, words).
        starts: First row of each run.
        lengths: Rows of each run; runs follow each other without gaps.
    """
    unions = np.zeros((len(starts), bitsets.shape[1]), np.uint64)
    is_filled = lengths > 0
    if is_filled.any():
        unions[is_filled] = np.bitwise_or.reduceat(bitsets, starts[is_filled], axis=0)
    return unions
