"""Work in parts that threads share; whatever their number, the parts and their order are the same.

What happens to a lead or a firm follows from its number alone (see `chance`), so a part comes out
the same by itself. NumPy and Arrow let go of Python's lock while they compute, so threads do.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from pipelines.core.arrays import IntArray

Item = TypeVar("Item")
Result = TypeVar("Result")

SIZE = 32_768
"""Numbers of a part: many enough for vectors to pay, few enough to stay in a processor's cache."""


def parts(numbers: IntArray) -> list[IntArray]:
    """Return `numbers` in parts of at most `SIZE`, in order; at least one, which may be empty."""
    return np.split(numbers, range(SIZE, numbers.size, SIZE))


def in_threads(
    threads: int, function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """Return the function's results in the order of `items`."""
    if threads == 1 or len(items) == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
