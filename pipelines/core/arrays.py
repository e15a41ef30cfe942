"""Array types shared by every layer, one name for each kind of number."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def spread_evenly(rows: int, limit: int) -> IntArray:
    """Return at most `limit` row numbers of `rows`, spread evenly over their order."""
    return np.linspace(0, rows - 1, min(rows, limit)).astype(np.int64)
