"""Randomness by address: what happens to person 7 on day 3 is a function of the seed and (7, 3).

Nothing is drawn in sequence, so any person, pair or day can be computed alone, in any order and
in any number of threads, and comes out the same. Integers are mixed by SplitMix64's finaliser
(Steele, Lea and Flood, 2014), which is exact on every machine; logarithms and the like are only
met in a table that is rounded, because their last bits differ between processors.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.core.arrays import FloatArray, IntArray

Bits = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
QUANTILES = 1 << 16


class Chance:
    """The chances of one world."""

    def __init__(self, seed: int):
        self._seed = seed

    def bits(self, topic: str, *address: ArrayLike) -> Bits:
        """Return 64 random bits for each address, shape of the broadcast addresses, at least 1-d.

        Args:
            topic: What is asked; different topics are independent.
            address: Whole numbers >= 0 that say of whom and when.
        """
        state = np.full(1, _key(self._seed, topic), np.uint64)
        for part in address:
            state = _mixed(state + (np.atleast_1d(np.asarray(part)).astype(np.uint64) + 1) * GOLDEN)
        return state

    def uniform(self, topic: str, *address: ArrayLike) -> FloatArray:
        """Return numbers in [0, 1)."""
        return (self.bits(topic, *address) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, topic: str, *address: ArrayLike) -> FloatArray:
        """Return standard normal numbers, from 65,536 equally likely quantiles."""
        return np.take(_quantiles(), self.bits(topic, *address) >> np.uint64(48))

    def below(self, topic: str, limit: ArrayLike, *address: ArrayLike) -> IntArray:
        """Return whole numbers in [0, limit)."""
        numbers = np.floor(self.uniform(topic, *address) * np.asarray(limit, np.float64))
        return np.asarray(numbers, np.int64)

    def choice(self, topic: str, weights: Sequence[float], *address: ArrayLike) -> IntArray:
        """Return positions in `weights`, each as likely as its weight says."""
        edges = np.cumsum(np.asarray(weights, np.float64))
        found = np.searchsorted(edges, self.uniform(topic, *address) * edges[-1], side="right")
        return np.asarray(found, np.int64)


def exp(values: ArrayLike) -> FloatArray:
    """Return e to the power of `values`, rounded so that every machine gets the same."""
    return np.asarray(np.round(np.exp(np.asarray(values, np.float64)), 6), np.float64)


def logistic(values: ArrayLike) -> FloatArray:
    """Return 1 / (1 + exp(-values)), rounded so that every machine gets the same."""
    return np.asarray(np.round(1 / (1 + np.exp(-np.asarray(values, np.float64))), 9), np.float64)


def _mixed(state: Bits) -> Bits:
    """Return `state` mixed; its own memory is used, which for long vectors is most of the time."""
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state


@cache
def _key(seed: int, topic: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{topic}".encode()).digest()[:8], "big")


@cache
def _quantiles() -> FloatArray:
    standard = NormalDist()
    return np.array(
        [round(standard.inv_cdf((place + 0.5) / QUANTILES), 6) for place in range(QUANTILES)]
    )
