"""How far two samples lie apart, and how far chance alone would drive them.

Leads of one day are more alike than leads of different days: a campaign, a weekend, a person who
asks twice. So a sample of three days says less than its number of rows. How much less is measured
on the days of the reference themselves, as the design effect of cluster samples (J. Rao and A.
Scott, Annals of Statistics 12, 1984), here by the median over days: a few days on which something
happened don't raise it.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import round_significant

SMOOTHING = 0.5
"""Added to every bin, so that an empty one has a logarithm (Jeffreys' prior)."""


@dataclass(frozen=True)
class Stability:
    """The population stability index of two samples, beside what chance gives."""

    psi: float
    by_chance: float
    """Its expectation where nothing has changed."""
    p_value: float


def stability(then: IntArray, now: IntArray) -> Stability | None:
    """Compare the bins of a sample with those of the reference; None where there is one bin only.

    The index is the sum of (q - p) ln(q / p) over the shares q now and p then. Where nothing has
    changed, it is about (1/n + 1/m) times a chi-square variable with one degree of freedom less
    than there are bins (Yurdakul and Naranjo 2020), times the design effect; as that is measured
    on `days` days, the quotient follows F instead.

    Args:
        then: Rows by day and bin, shape (days, bins).
        now: Rows by bin, shape (bins,).
    """
    bins = now.size
    if bins < 2:  # noqa: PLR2004 - one bin holds all of both
        return None
    p, q = _shares(then.sum(axis=0)), _shares(now)
    psi = float(np.sum((q - p) * np.log(q / p)))
    effect, days = _effect_of_days(then)
    unit = effect * (1 / now.sum() + 1 / then.sum())
    tail = special.fdtrc(bins - 1, max(days - 1, 1) * (bins - 1), psi / unit / (bins - 1))
    return Stability(
        round_significant(psi), round_significant(unit * (bins - 1)), round_significant(float(tail))
    )


def moved_most(then: IntArray, now: IntArray) -> int:
    """Return the bin that adds most to the index of two samples, both of shape (bins,)."""
    p, q = _shares(then), _shares(now)
    return int(np.argmax((q - p) * np.log(q / p)))


def _shares(counts: IntArray) -> FloatArray:
    return np.asarray((counts + SMOOTHING) / (counts.sum() + SMOOTHING * counts.size))


def _effect_of_days(counts: IntArray) -> tuple[float, int]:
    """Return the design effect of days, and on how many days it was measured."""
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    days, bins = counts.shape
    if days < 2 or bins < 2:  # noqa: PLR2004 - nothing to compare
        return 1.0, days
    rows = counts.sum(axis=1, keepdims=True)
    expected = rows * counts.sum(axis=0) / counts.sum()
    own = 1 - rows[:, 0] / counts.sum()  # a day is part of what it is compared with
    return design_effect(((counts - expected) ** 2 / expected).sum(axis=1) / own, bins - 1), days


def design_effect(chi_squares: FloatArray, degrees: int = 1) -> float:
    """Return how much farther samples lie apart than rows that know nothing of each other.

    Args:
        chi_squares: Pearson's statistic of each sample against all of them.
        degrees: Degrees of freedom of each.
    """
    usual = degrees * (1 - 2 / (9 * degrees)) ** 3  # the median of chi-square
    return max(1.0, float(np.median(chi_squares)) / usual) if chi_squares.size else 1.0


def tail(squares: FloatArray, degrees: int) -> FloatArray:
    """Return how often chance goes so far, for squares of standardised differences.

    Args:
        squares: Each divided by its variance, design effect included.
        degrees: Degrees of freedom on which the variance was measured.
    """
    return np.asarray(special.fdtrc(1, max(degrees, 1), squares))
