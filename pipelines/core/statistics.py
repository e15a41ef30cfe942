"""The statistics of every layer, one implementation each."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pipelines.core.arrays import BoolArray, FloatArray, IntArray

Z_95 = 1.959963984540054
"""Standard deviations to either side that hold 95% of a normal distribution."""

CALIBRATION_BINS = 20
"""Bins of equal count of the expected calibration error."""

PROBABILITY_EDGE = 1e-6
"""Distance from 0 and 1 that a probability keeps before its logarithm is taken."""


QuantileMethod = Literal["linear", "lower", "higher", "inverted_cdf"]
"""Methods of `numpy.quantile`."""


def sigmoid(log_odds: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-log_odds)), computed without overflow."""
    return np.asarray(0.5 + 0.5 * np.tanh(log_odds / 2))


def logit(probability: FloatArray) -> FloatArray:
    """Return the log-odds ln(p / (1 - p))."""
    return np.asarray(np.log(probability / (1 - probability)))


def clip_probability(probability: FloatArray) -> FloatArray:
    """Return probabilities that are at least `PROBABILITY_EDGE` away from 0 and 1."""
    return np.clip(probability, PROBABILITY_EDGE, 1 - PROBABILITY_EDGE)


def wilson_interval(positives: ArrayLike, rows: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the 95% interval of a rate, element by element.

    E. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22, 1927.
    """
    positives, rows = np.asarray(positives, np.float64), np.asarray(rows, np.float64)
    rate, square = positives / rows, Z_95**2
    center = rate + square / (2 * rows)
    half_width = Z_95 * np.sqrt(rate * (1 - rate) / rows + square / (4 * rows**2))
    low, high = ((center + side * half_width) / (1 + square / rows) for side in (-1, 1))
    return (
        np.where(positives == 0, 0.0, np.maximum(low, 0.0)),
        np.where(positives == rows, 1.0, np.minimum(high, 1.0)),
    )


def placement_values(predicted: FloatArray, outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the placement values of the positive rows and of the negative rows.

    The placement value of a positive row is the share of negative rows with a lower prediction,
    that of a negative row the share of positive rows with a higher one; ties count as half. The
    mean of either is the AUC.
    """
    is_positive = outcomes == 1
    positives, negatives = predicted[is_positive], predicted[~is_positive]
    return _share_below(positives, negatives), 1 - _share_below(negatives, positives)


def _share_below(values: FloatArray, others: FloatArray) -> FloatArray:
    """Return for each value the share of `others` below it, ties by half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    return np.asarray((below + not_above) / (2 * max(len(ordered), 1)))


def auc(predicted: FloatArray, outcomes: FloatArray) -> tuple[float, float]:
    """Return the area under the ROC curve and its standard deviation.

    DeLong, DeLong and Clarke-Pearson (1988): the variance is that of the placement values,
    var(V10) / m + var(V01) / n with m positive and n negative rows.
    """
    return mean_of_placements(*placement_values(predicted, outcomes))


def mean_of_placements(positives: FloatArray, negatives: FloatArray) -> tuple[float, float]:
    """Return the AUC that two sets of placement values give, and its standard deviation.

    With differences of the placement values of two models, it is the difference of their AUC.
    """
    parts = (positives, negatives)
    variance = sum(part.var(ddof=1) / len(part) for part in parts if len(part) > 1)
    return float(positives.mean()), float(np.sqrt(variance))


def auc_with_interval(predicted: FloatArray, outcomes: FloatArray) -> tuple[float, float, float]:
    """Return the AUC and the ends of its 95% interval within 0 and 1."""
    area, deviation = auc(predicted, outcomes)
    half_width = Z_95 * deviation
    return area, max(0.0, area - half_width), min(1.0, area + half_width)


def auc_of_counts(positives: FloatArray, negatives: FloatArray) -> FloatArray:
    """Return the AUC from the weight of each class at each distinct prediction, lowest first.

    Predictions run along the last axis; the others are samples with weights of their own.
    """
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    return np.asarray((positives * below).sum(axis=-1) / pairs)


def ks_distance(predicted: FloatArray, outcomes: FloatArray) -> float:
    """Return the Kolmogorov-Smirnov distance between the predictions of the two classes."""
    values, position = np.unique(predicted, return_inverse=True)
    positives = np.bincount(position, weights=outcomes, minlength=len(values))
    negatives = np.bincount(position, weights=1 - outcomes, minlength=len(values))
    distance = np.cumsum(positives) / positives.sum() - np.cumsum(negatives) / negatives.sum()
    return float(np.max(np.abs(distance)))


def brier_score(
    predicted: FloatArray, outcomes: FloatArray, weights: FloatArray | None = None
) -> float:
    """Return the mean squared error of probabilities; `weights` by row, default 1."""
    return float(np.average((predicted - outcomes) ** 2, weights=weights))


def expected_calibration_error(
    predicted: FloatArray, outcomes: FloatArray, weights: FloatArray | None = None
) -> float:
    """Return the mean distance of prediction and outcome over `CALIBRATION_BINS` bins.

    Bins have equal numbers of rows. Rows of equal prediction share their mean outcome, so their
    order does not matter.
    """
    weights = np.ones(len(outcomes)) if weights is None else weights
    _, position = np.unique(predicted, return_inverse=True)
    positives = np.bincount(position, weights=weights * outcomes)
    rates = positives / np.bincount(position, weights=weights)
    order = np.argsort(predicted, kind="stable")
    return mean_bin_error((weights * (predicted - rates[position]))[order], float(weights.sum()))


def mean_bin_error(errors: FloatArray, total: float) -> float:
    """Return the sum over bins of equal count of |sum of errors|, divided by `total`."""
    return sum(abs(float(part.sum())) for part in np.array_split(errors, CALIBRATION_BINS)) / total


def equal_count_bins(predicted: FloatArray, bins: int) -> list[IntArray]:
    """Return the row numbers of `bins` bins of about equal count, lowest predictions first."""
    return np.array_split(np.argsort(predicted, kind="stable"), bins)


def quantile_edges(values: FloatArray, bins: int, method: QuantileMethod = "linear") -> FloatArray:
    """Return the distinct values that cut known `values` into at most `bins` equally full bins."""
    shares = np.arange(1, bins) / bins
    return np.unique(np.quantile(values, shares, method=method))


def adjust_p_values(p_values: FloatArray) -> FloatArray:
    """Return p-values adjusted for their number by Benjamini and Hochberg (1995).

    An adjusted value is the smallest false discovery rate at which the figure is still reported.
    """
    if not p_values.size:
        return p_values
    from scipy.stats import false_discovery_control  # noqa: PLC0415  its import takes a second

    return np.asarray(false_discovery_control(p_values))


def reject_by_holm(p_value: FloatArray, level: float) -> BoolArray:
    """Return which hypotheses Holm's method (1979) rejects, in the order of their p-values."""
    order = np.argsort(p_value, kind="stable")
    limits = level / np.arange(p_value.size, 0, -1)
    is_rejected = np.zeros(p_value.size, np.bool_)
    passed = np.cumprod(p_value[order] <= limits).astype(np.bool_)
    is_rejected[order[passed]] = True
    return is_rejected


def round_significant(value: float, digits: int = 6) -> float:
    """Return `value` with `digits` significant digits.

    The last bits of a sum or a logarithm differ between machines; published figures leave them out.
    """
    return float(f"{value:.{digits}g}")
