"""The arrays that models are made of."""

import numpy as np

Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Codes = np.ndarray[tuple[int], np.dtype[np.int64]]
Rows = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""True where a row belongs."""


def evenly(rows: int, most: int) -> Codes:
    """Return the numbers of at most `most` of some rows, evenly over their order."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)
