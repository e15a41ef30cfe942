"""How good probabilities are: order, spread, size and calibration, against what happened."""

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
"""Of what chance may make of a calibration error."""


VARIANCES = np.array([0.0, *np.geomspace(0.001, 4, 120).round(6)])
"""Among which that of how far groups move is looked for, in squared log-odds."""


@dataclass(frozen=True)
class Figures:
    """Figures of one set of predictions; all fractions. Rounded: they are read by people."""

    auc: float
    auc_low: float
    auc_high: float
    """95% interval of `auc`."""
    ks: float
    """Largest distance between the score distributions of those it happened to and the rest."""
    brier: float
    """Mean squared error of the probability."""
    ece: float
    """Mean distance between predicted and observed rate, over 20 bins of equal count."""
    base_rate: float
    rows: int

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)


def evaluate(
    predicted: FloatArray, happened: FloatArray, counts: FloatArray | None = None
) -> Figures:
    """Return the figures of probabilities `predicted` for what `happened` (0 or 1).

    A row is as many as `counts` says, without it one; order and spread take every row as one.

    Raises:
        ValueError: Only one class happened; order and spread mean nothing then.
    """
    if happened.min() == happened.max():
        raise ValueError("figures need rows of both classes")
    area, low, high = auc_with_interval(predicted, happened)
    counts = np.ones(len(happened)) if counts is None else counts
    return Figures(
        auc=_rounded(area),
        auc_low=_rounded(low),
        auc_high=_rounded(high),
        ks=_rounded(ks_distance(predicted, happened)),
        brier=_rounded(brier_score(predicted, happened, counts)),
        ece=_rounded(expected_calibration_error(predicted, happened, counts)),
        base_rate=_rounded(float(np.average(happened, weights=counts))),
        rows=len(happened),
    )


def within_by_group(
    predicted: FloatArray, happened: FloatArray, groups: IntArray, *, least: int, moved: float = 0.0
) -> tuple[int, int]:
    """Return how many groups of `least` or more rows hold what was predicted of them, of how many.

    A group's outcomes are independent draws of their probabilities, if those are right; so their
    number has the mean sum(p) and the variance s = sum(p (1 - p)) of the Poisson-binomial
    distribution. Where the log-odds of a group may have moved since the model was made, by a
    variance of `moved`, that of its number is s + `moved` s^2, to first order. A group holds where
    what happened lies within the central 95%, normal from `least` on.
    """
    rows, gaps, chance = _of_groups(predicted, happened, groups, np.ones(len(happened)))
    ends = Z_95 * np.sqrt(chance + moved * chance**2)
    checked = rows >= least
    return int(np.sum(np.abs(gaps[checked]) <= ends[checked])), int(checked.sum())


def movement(
    predicted: FloatArray, happened: FloatArray, groups: IntArray, counts: FloatArray | None = None
) -> float:
    """Return the variance by which the log-odds of groups lie off what was predicted of them.

    The most likely one, where the number of a group is normal with the variance that
    `within_by_group` names: a random effect of groups in the notation of DerSimonian and Laird
    (1986), Controlled Clinical Trials 7, to the nearest of `VARIANCES`. A row is as many as
    `counts` says, without it one.
    """
    counts = np.ones(len(happened)) if counts is None else counts
    seen = counts > 0
    _, gaps, chance = _of_groups(predicted[seen], happened[seen], groups[seen], counts[seen])
    likelihood = np.zeros(len(VARIANCES))
    for place, variance in enumerate(VARIANCES):
        whole = chance + variance * chance**2
        likelihood[place] = -np.sum(np.log(whole) + gaps**2 / whole)
    return float(VARIANCES[np.argmax(likelihood)])


def _of_groups(
    predicted: FloatArray, happened: FloatArray, groups: IntArray, counts: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return of each group its rows, what happened less what was predicted, and sum(p (1 - p))."""
    _, place, rows = np.unique(groups, return_inverse=True, return_counts=True)
    gaps = np.bincount(place, weights=counts * (happened - predicted))
    chance = np.bincount(place, weights=counts * predicted * (1 - predicted))
    return np.asarray(rows), np.asarray(gaps), np.asarray(chance)


def spread(predicted: FloatArray, happened: FloatArray) -> dict[str, float]:
    """Return how far chance in the rows reaches.

    Returns:
        `brier_low` and `brier_high`, and so on for `ece` and `base_rate`: 95% intervals, 1.96
        standard deviations to either side. For `ece` the gap of each bin is drawn about the one
        observed, with the variance of its rows. `ece_by_chance`: what `ece` would be on average,
        were every probability right; no model can be held to less.
    """
    rows, off = len(happened), predicted - happened
    bins = equal_count_bins(predicted, CALIBRATION_BINS)
    gaps = [off[of].sum() for of in bins]
    deviations = [off[of].std() * np.sqrt(len(of)) for of in bins]
    drawn = np.random.default_rng(SEED).normal(gaps, deviations, (DRAWS, CALIBRATION_BINS))
    deviation = {
        "brier": (off**2).std() / np.sqrt(rows),
        "ece": np.abs(drawn).sum(axis=1).std() / rows,
        "base_rate": happened.std() / np.sqrt(rows),
    }
    stands = {
        "brier": np.mean(off**2),
        "ece": expected_calibration_error(predicted, happened),
        "base_rate": happened.mean(),
    }
    by_chance = [np.sqrt(np.sum(predicted[of] * (1 - predicted[of]))) for of in bins]
    return {
        f"{name}_{end}": _rounded(max(0.0, figure + sign * Z_95 * deviation[name]))
        for name, figure in stands.items()
        for end, sign in (("low", -1), ("high", 1))
    } | {"ece_by_chance": _rounded(np.sqrt(2 / np.pi) * sum(by_chance) / rows)}


def _rounded(value: float) -> float:
    return round(float(value), 6)
