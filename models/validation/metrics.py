"""Validation metrics of probabilities, and lender drift beyond chance."""

from dataclasses import asdict, dataclass

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import (
    CALIBRATION_BINS,
    Z_95,
    auc_with_interval,
    brier_score,
    equal_count_bins,
    expected_calibration_error,
    ks_distance,
)

SEED, DRAWS = 20_261_124, 2_000
"""Of the simulation of the calibration error's sampling variance."""

DRIFT_VARIANCES = np.array([0.0, *np.geomspace(0.001, 4, 120).round(6)])
"""The grid on which the variance of lender drift is estimated, in squared log-odds."""


@dataclass(frozen=True)
class ValidationMetrics:
    """Metrics of one set of predictions, rounded; all are fractions but `rows`."""

    auc: float
    auc_low: float
    auc_high: float
    """95% interval of `auc`."""
    ks: float
    brier: float
    ece: float
    base_rate: float
    rows: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the metrics by name."""
        return asdict(self)


def evaluate(
    predicted: FloatArray, outcomes: FloatArray, weights: FloatArray | None = None
) -> ValidationMetrics:
    """Return the metrics of probabilities `predicted` for `outcomes` (0 or 1).

    `weights` (default 1) count in Brier score, ECE and base rate; AUC and KS ignore them.

    Raises:
        ValueError: There is only one class, for which AUC and KS are undefined.
    """
    if outcomes.min() == outcomes.max():
        raise ValueError("metrics need rows of both classes")
    area, low, high = auc_with_interval(predicted, outcomes)
    weights = np.ones(len(outcomes)) if weights is None else weights
    return ValidationMetrics(
        auc=_round(area),
        auc_low=_round(low),
        auc_high=_round(high),
        ks=_round(ks_distance(predicted, outcomes)),
        brier=_round(brier_score(predicted, outcomes, weights)),
        ece=_round(expected_calibration_error(predicted, outcomes, weights)),
        base_rate=_round(float(np.average(outcomes, weights=weights))),
        rows=len(outcomes),
    )


def estimate_intervals(predicted: FloatArray, outcomes: FloatArray) -> dict[str, float]:
    """Return the sampling error of Brier score, ECE and base rate.

    Returns:
        `brier_low` and `brier_high`, likewise for `ece` and `base_rate`: 95% intervals, 1.96
        standard deviations to either side. For `ece` the error of each bin is simulated around the
        observed one, with the variance of its rows. `ece_by_chance`: the expected `ece` if every
        probability were right, which no model can undercut.
    """
    rows, errors = len(outcomes), predicted - outcomes
    bins = equal_count_bins(predicted, CALIBRATION_BINS)
    bin_errors = [errors[rows_of_bin].sum() for rows_of_bin in bins]
    deviations = [errors[of_bin].std() * np.sqrt(len(of_bin)) for of_bin in bins]
    random = np.random.default_rng(SEED)
    simulated = random.normal(bin_errors, deviations, (DRAWS, CALIBRATION_BINS))
    deviation = {
        "brier": (errors**2).std() / np.sqrt(rows),
        "ece": np.abs(simulated).sum(axis=1).std() / rows,
        "base_rate": outcomes.std() / np.sqrt(rows),
    }
    estimate = {
        "brier": np.mean(errors**2),
        "ece": expected_calibration_error(predicted, outcomes),
        "base_rate": outcomes.mean(),
    }
    by_chance = [np.sqrt(np.sum(predicted[of_bin] * (1 - predicted[of_bin]))) for of_bin in bins]
    return {
        f"{name}_{end}": _round(max(0.0, value + sign * Z_95 * deviation[name]))
        for name, value in estimate.items()
        for end, sign in (("low", -1), ("high", 1))
    } | {"ece_by_chance": _round(np.sqrt(2 / np.pi) * sum(by_chance) / rows)}


def count_groups_within_interval(
    predicted: FloatArray,
    outcomes: FloatArray,
    groups: IntArray,
    *,
    min_rows: int,
    drift_variance: float = 0.0,
) -> tuple[int, int]:
    """Return how many groups of `min_rows` or more match their prediction, and how many there are.

    If the probabilities are right, the number of positives of a group is Poisson-binomial with the
    mean sum(p) and the variance s = sum(p (1 - p)). Lender drift adds a random effect with variance
    `drift_variance` to the log-odds of a group, so to first order `drift_variance` s^2 to the
    variance of its number. A group matches if its number lies in the central 95% of the normal
    approximation.
    """
    rows, errors, variance = _sum_by_group(predicted, outcomes, groups, np.ones(len(outcomes)))
    half_width = Z_95 * np.sqrt(variance + drift_variance * variance**2)
    is_large = rows >= min_rows
    is_within = np.abs(errors[is_large]) <= half_width[is_large]
    return int(np.sum(is_within)), int(is_large.sum())


def estimate_lender_drift(
    predicted: FloatArray,
    outcomes: FloatArray,
    groups: IntArray,
    weights: FloatArray | None = None,
) -> float:
    """Return the variance of the groups' log-odds around their prediction.

    The maximum likelihood estimate of a random effect of groups, with the normal approximation of
    `count_groups_within_interval`, on the grid `DRIFT_VARIANCES` (in the notation of DerSimonian
    and Laird 1986, Controlled Clinical Trials 7).
    """
    weights = np.ones(len(outcomes)) if weights is None else weights
    used = weights > 0
    _, errors, variance = _sum_by_group(
        predicted[used], outcomes[used], groups[used], weights[used]
    )
    likelihood = np.zeros(len(DRIFT_VARIANCES))
    for position, drift_variance in enumerate(DRIFT_VARIANCES):
        total = variance + drift_variance * variance**2
        likelihood[position] = -np.sum(np.log(total) + errors**2 / total)
    return float(DRIFT_VARIANCES[np.argmax(likelihood)])


def _sum_by_group(
    predicted: FloatArray, outcomes: FloatArray, groups: IntArray, weights: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return for each group its rows, observed less predicted positives, and sum(p (1 - p))."""
    _, group, rows = np.unique(groups, return_inverse=True, return_counts=True)
    errors = np.bincount(group, weights=weights * (outcomes - predicted))
    variance = np.bincount(group, weights=weights * predicted * (1 - predicted))
    return np.asarray(rows), np.asarray(errors), np.asarray(variance)


def _round(value: float) -> float:
    return round(float(value), 6)
