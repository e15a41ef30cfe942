"""Metrics of predicted probabilities against true ones: expected values, not of one draw."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import auc_of_counts, mean_bin_error

RESAMPLES = 200
SEED = 20_261_124
METRICS = ("auc", "ece", "mean_ratio")


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities of some people, and the true ones."""

    predicted: FloatArray
    truth: FloatArray

    def auc(self, counts: FloatArray) -> float:
        """Return the expected AUC: each person is a default with the true probability."""
        positives = np.bincount(self._code, weights=counts * self.truth)
        negatives = np.bincount(self._code, weights=counts * (1 - self.truth))
        return float(auc_of_counts(np.asarray(positives), np.asarray(negatives)))

    def ece(self, counts: FloatArray) -> float:
        """Return the mean distance from the truth, over bins of equal count by prediction."""
        distance = (counts * (self.predicted - self.truth))[self._order]
        return mean_bin_error(distance, float(counts.sum()))

    def mean_ratio(self, counts: FloatArray) -> float:
        """Return the mean prediction over the mean truth (calibration in the large)."""
        return float((counts * self.predicted).sum() / (counts * self.truth).sum())

    @cached_property
    def _code(self) -> IntArray:
        """The position of each prediction among the distinct ones."""
        return np.unique(self.predicted, return_inverse=True)[1]

    @cached_property
    def _order(self) -> IntArray:
        return np.argsort(self.predicted, kind="stable")

    def metrics(self, counts: FloatArray) -> FloatArray:
        """Return `METRICS`, with each person counted `counts` times."""
        return np.array([self.auc(counts), self.ece(counts), self.mean_ratio(counts)])


def compute_metrics(predictions: Predictions) -> dict[str, float]:
    """Return each metric with its 95% bootstrap interval over people."""
    people = len(predictions.truth)
    resampled = np.array([predictions.metrics(counts) for counts in _resamples(people)])
    return _with_intervals(predictions.metrics(np.ones(people)), resampled)


def compare_metrics(predictions: Predictions, baseline: Predictions) -> dict[str, float]:
    """Return the difference of each metric from that of `baseline`, on the same people."""

    def difference(counts: FloatArray) -> FloatArray:
        return predictions.metrics(counts) - baseline.metrics(counts)

    people = len(predictions.truth)
    resampled = np.array([difference(counts) for counts in _resamples(people)])
    return _with_intervals(difference(np.ones(people)), resampled)


def _resamples(people: int) -> Iterator[FloatArray]:
    random = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        drawn = random.integers(0, people, people)
        yield np.bincount(drawn, minlength=people).astype(np.float64)


def _with_intervals(point: FloatArray, resampled: FloatArray) -> dict[str, float]:
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    intervals = {}
    for number, name in enumerate(METRICS):
        for key, values in ((name, point), (f"{name}_low", low), (f"{name}_high", high)):
            intervals[key] = round(float(values[number]), 5)
    return intervals
