"""How good probabilities are against true ones: expected figures, not those of one draw."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import auc_of_counts, mean_bin_error

RESAMPLES = 200
SEED = 20_261_124


@dataclass(frozen=True)
class Judged:
    """Probabilities given to some people, and their true ones."""

    predicted: FloatArray
    truth: FloatArray

    def auc(self, counts: FloatArray) -> float:
        """Return the expected AUC: each person defaults in part, by the truth."""
        bad = np.bincount(self._place, weights=counts * self.truth)
        good = np.bincount(self._place, weights=counts * (1 - self.truth))
        return float(auc_of_counts(np.asarray(bad), np.asarray(good)))

    def ece(self, counts: FloatArray) -> float:
        """Return the mean distance from the truth, over bins of equal count by prediction."""
        distance = (counts * (self.predicted - self.truth))[self._order]
        return mean_bin_error(distance, float(counts.sum()))

    def in_the_large(self, counts: FloatArray) -> float:
        """Return the mean prediction over the mean truth."""
        return float((counts * self.predicted).sum() / (counts * self.truth).sum())

    @cached_property
    def _place(self) -> Any:
        """The place of each prediction among the distinct ones."""
        return np.unique(self.predicted, return_inverse=True)[1]

    @cached_property
    def _order(self) -> Any:
        return np.argsort(self.predicted, kind="stable")

    def all(self, counts: FloatArray) -> FloatArray:
        """Return the three figures above, with everyone as many as `counts` says."""
        return np.array([self.auc(counts), self.ece(counts), self.in_the_large(counts)])


NAMES = ("auc", "ece", "in_the_large")


def figures(judged: Judged) -> dict[str, float]:
    """Return each figure with its 95% interval by bootstrap over people."""
    drawn = np.array([judged.all(counts) for counts in _resamples(len(judged.truth))])
    return _told(judged.all(np.ones(len(judged.truth))), drawn)


def gain(judged: Judged, against: Judged) -> dict[str, float]:
    """Return how much each figure of `judged` is above that of `against`, on the same people."""
    drawn = [judged.all(counts) - against.all(counts) for counts in _resamples(len(judged.truth))]
    everyone = np.ones(len(judged.truth))
    return _told(judged.all(everyone) - against.all(everyone), np.array(drawn))


def _resamples(people: int) -> Any:
    random = np.random.default_rng(SEED)
    return (
        np.bincount(random.integers(0, people, people), minlength=people).astype(np.float64)
        for _ in range(RESAMPLES)
    )


def _told(point: FloatArray, drawn: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    said: dict[str, float] = {}
    for place, name in enumerate(NAMES):
        parts = {name: point, f"{name}_low": low, f"{name}_high": high}
        said |= {key: round(float(part[place]), 5) for key, part in parts.items()}
    return said
