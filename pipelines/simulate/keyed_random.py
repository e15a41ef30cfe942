"""Random numbers by address: a number is a function of the seed, a topic and whole numbers.

Person 7 on day 3 has the address (7, 3). Nothing is drawn in sequence, so each person, pair or day
can be computed separately, in any order and in any number of threads, with the same result.
Integers are mixed by SplitMix64's finaliser (Steele, Lea and Flood, 2014), which is exact on every
machine. The last bits of logarithms and exponentials differ between processors, so their results
are rounded."""

import hashlib
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.core.arrays import FloatArray, IntArray

UInt64Array = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
QUANTILES = 1 << 16
HASHED_NAMES = {
    "applicant": "asker",
    "other applicant": "other asker",
    "application recorded": "applied told",  # words: keep - the draw's address
    "approval recorded": "decided told",  # words: keep - the draw's address
    "funding recorded": "funded told",  # words: keep - the draw's address
    "overdue_30 recorded": "overdue_30 told",  # words: keep - the draw's address
    "overdue_60 recorded": "overdue_60 told",  # words: keep - the draw's address
    "overdue_90 recorded": "overdue_90 told",  # words: keep - the draw's address
    "repayment recorded": "repaid told",  # words: keep - the draw's address
    "excluded": "set aside",  # words: keep - the draw's address
    "corrupted rows": "broken rows",
    "corrupted section": "stretch",  # words: keep - the draw's address
    "corrupted row": "dirt",  # words: keep - the draw's address
    "kind of corruption": "flaw",  # words: keep - the draw's address
    "corrupted copies": "befalls empty",
    "harmless variants": "befalls columns_as_text",
}
"""Topic -> the name that is hashed for it. Each topic was first published under this name, and
another name would give another world."""


class KeyedRandom:
    """The random numbers of one world."""

    def __init__(self, seed: int):
        self._seed = seed

    def bits(self, topic: str, *address: ArrayLike) -> UInt64Array:
        """Return 64 random bits for each address, shape of the broadcast addresses, at least 1-d.

        Args:
            topic: What the number decides; different topics are independent.
            address: Whole numbers >= 0, such as person and day.
        """
        state = np.full(1, _key(self._seed, topic), np.uint64)
        for part in address:
            state = _mix(state + (np.atleast_1d(np.asarray(part)).astype(np.uint64) + 1) * GOLDEN)
        return state

    def uniform(self, topic: str, *address: ArrayLike) -> FloatArray:
        """Return numbers in [0, 1)."""
        return (self.bits(topic, *address) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, topic: str, *address: ArrayLike) -> FloatArray:
        """Return standard normal numbers, from 65,536 equally likely quantiles."""
        return np.take(_quantiles(), self.bits(topic, *address) >> np.uint64(48))

    def integers(self, topic: str, limit: ArrayLike, *address: ArrayLike) -> IntArray:
        """Return whole numbers in [0, limit)."""
        numbers = np.floor(self.uniform(topic, *address) * np.asarray(limit, np.float64))
        return np.asarray(numbers, np.int64)

    def choice(self, topic: str, weights: Sequence[float], *address: ArrayLike) -> IntArray:
        """Return positions in `weights`, with probabilities in proportion to the weights."""
        edges = np.cumsum(np.asarray(weights, np.float64))
        positions = np.searchsorted(edges, self.uniform(topic, *address) * edges[-1], side="right")
        return np.asarray(positions, np.int64)


def rounded_exp(values: ArrayLike) -> FloatArray:
    """Return e to the power of `values`, rounded to be equal on every machine."""
    return np.asarray(np.round(np.exp(np.asarray(values, np.float64)), 6), np.float64)


def rounded_sigmoid(values: ArrayLike) -> FloatArray:
    """Return 1 / (1 + exp(-values)), rounded to be equal on every machine."""
    return np.asarray(np.round(1 / (1 + np.exp(-np.asarray(values, np.float64))), 9), np.float64)


def _mix(state: UInt64Array) -> UInt64Array:
    """Mix `state` in place: for long vectors, allocating memory would take most of the time."""
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


@cache
def _key(seed: int, topic: str) -> int:
    name = f"{seed}/{HASHED_NAMES.get(topic, topic)}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


@cache
def _quantiles() -> FloatArray:
    standard = NormalDist()
    return np.array(
        [round(standard.inv_cdf((number + 0.5) / QUANTILES), 6) for number in range(QUANTILES)]
    )
