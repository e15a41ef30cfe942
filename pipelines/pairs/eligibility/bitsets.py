"""Sets of products as bits: one bit for each open product, 64 to a word.

Bit `j % 64` of word `j // 64` stands for the product with `product_row` j. A thousand products are
16 words, so what a lead may be shown fits into 128 bytes, and two sets meet by one `&` a word.
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, IntArray

Words = NDArray[np.uint64]

WORD_BITS = 64
_LITTLE = np.dtype("<u8")


def words_of(products: int) -> int:
    """Return how many words hold a bit for each of `products`; at least one."""
    return max(1, -(-products // WORD_BITS))


def packed(flags: BoolArray) -> Words:
    """Return flags, shape (..., products), as words, shape (..., words)."""
    room = words_of(flags.shape[-1]) * WORD_BITS - flags.shape[-1]
    padded = np.pad(flags, [(0, 0)] * (flags.ndim - 1) + [(0, room)])
    octets = np.packbits(padded, axis=-1, bitorder="little")
    return np.ascontiguousarray(octets).view(_LITTLE).astype(np.uint64, copy=False)


def unpacked(words: Words, products: int) -> BoolArray:
    """Return words, shape (rows, words), as flags, shape (rows, products)."""
    octets = np.ascontiguousarray(words.astype(_LITTLE, copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=products, bitorder="little").view(np.bool_)


def counted(words: Words) -> IntArray:
    """Return how many products each row of words, shape (rows, words), holds."""
    return np.asarray(np.bitwise_count(words).sum(axis=-1, dtype=np.int64))


def united(words: Words, starts: IntArray, lengths: IntArray) -> Words:
    """Return the union of each run of rows; an empty run holds nothing.

    Args:
        words: Sets, shape (rows, words).
        starts: First row of each run.
        lengths: How many rows each run has; runs follow each other without gaps.
    """
    union = np.zeros((len(starts), words.shape[1]), np.uint64)
    filled = lengths > 0
    if filled.any():
        union[filled] = np.bitwise_or.reduceat(words, starts[filled], axis=0)
    return union
