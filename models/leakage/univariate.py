"""The tests of one column for what it could know only afterwards, without the other columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from expectations import policy
from expectations.policy_types import LeakTest
from models.leakage.columns import Column
from models.leakage.power import Power, Sample, power, rates
from models.leakage.views import Views
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

CHANCE = 0.5
NOTHING_LEFT = 0.05
"""Distance from the AUC of chance up to which a column counts as knowing nothing any more.

One that says the opposite has not lost what it knew: the world has turned, which is no leak."""
EARLIER = 0.7
"""Share of the rows, by the day of their leads, that are the earlier ones."""
LEAST_OF_A_GROUP = 20
"""Rows of a group from which on its rate is worth comparing."""
TELLS_THE_DAY = 0.5
"""Share of the spread of lead days that a column explains, from which on it tells the date."""


@dataclass(frozen=True)
class Trial:
    """One column under one test."""

    name: str
    test: LeakTest
    figure: float
    limit: float
    is_leak: bool
    words: str
    """Which figure means what; no value of any row."""


@dataclass(frozen=True)
class Alone:
    """What a column says by itself, in its most telling view."""

    view: str
    codes: IntArray
    power: Power


def is_enough(happened: FloatArray) -> bool:
    """Return whether there are enough rows of either class to tell anything."""
    times = float(happened.sum())
    fewest = min(times, len(happened) - times)
    return fewest >= policy.leaks().least_rows_of_a_class


def alone(views: Views, sample: Sample) -> Alone | None:
    """Return the most telling view of a column; None: all rows are alike in it."""
    z = policy.leaks().deviations
    found = []
    for name, codes in views:
        told = rates(codes, sample.happened, sample.learned)
        found.append(Alone(name, codes, sample.power(told)))
    return max(found, key=lambda one: one.power.low(z), default=None)


def by_itself(views: Views, sample: Sample, most: Alone) -> Iterator[Trial]:
    """Yield the tests that look at a column and the outcome alone."""
    yield _alone(views, most)
    yield from _gaps(views, sample)
    yield from _fading(views, sample)


def late(views: Views) -> Iterator[Trial]:
    """Yield whether dates of a column lie after the lead's day: then it wasn't known on it."""
    days, lead_days = views.column.days, views.lead_days
    if days is None or lead_days is None:
        return
    known = ~np.isnan(days) & ~np.isnan(lead_days)
    if known.sum() < policy.leaks().least_rows_of_a_class:
        return
    after = days[known] > lead_days[known] + views.column.is_moment
    share, limit = float(after.mean()), policy.leaks().limits.late
    words = f"{share:.1%} of its dates lie after the day of their lead"
    yield Trial(views.column.name, "late", share, limit, share > limit, words)


def absent(column: Column, no_label: BoolArray) -> Iterator[Trial]:
    """Yield whether a column is missing on the very rows whose outcome isn't known."""
    limits, missing = policy.leaks(), column.is_missing
    either = missing | no_label
    if no_label.sum() < limits.least_rows_of_a_class or not missing.any():
        return
    share = float((missing & no_label).sum() / either.sum())
    words = f"of the rows without it or without an outcome, {share:.1%} have neither"
    yield Trial(
        column.name, "absent", share, limits.limits.absent, share > limits.limits.absent, words
    )


def _alone(views: Views, most: Alone) -> Trial:
    limits = policy.leaks()
    is_leak = most.power.low(limits.deviations) > limits.limits.alone
    words = f"{most.view} alone ranks {most.power.auc:.1%} of the pairs of rows rightly"
    return Trial(views.column.name, "alone", most.power.auc, limits.limits.alone, is_leak, words)


def _gaps(views: Views, sample: Sample) -> Iterator[Trial]:
    missing, limits = views.column.is_missing, policy.leaks()
    if missing.all() or not missing.any():
        return
    yes = sample.happened == 1
    found = power(missing.astype(np.float64), sample.happened)
    figure = max(found.auc, 1 - found.auc)
    is_leak = figure - limits.deviations * found.deviation > limits.limits.gaps
    words = (
        f"it is missing in {missing[yes].mean():.1%} of the rows where it happened and in "
        f"{missing[~yes].mean():.1%} of the others, which ranks {figure:.1%} of the pairs rightly"
    )
    yield Trial(views.column.name, "gaps", figure, limits.limits.gaps, is_leak, words)


def _fading(views: Views, sample: Sample) -> Iterator[Trial]:
    """Yield the loss of the view that loses most of what it knew beyond doubt."""
    days, limits = views.lead_days, policy.leaks()
    if days is None:
        return
    early = days < np.quantile(days, EARLIER, method="higher")
    lost = [loss for _, codes in views for loss in _losses(codes, sample, early, days)]
    if not lost:
        return
    before, after = max(lost, key=lambda pair: pair[0].auc - pair[1].auc)
    figure = before.auc - after.auc
    doubt = limits.deviations * float(np.hypot(before.deviation, after.deviation))
    is_leak = figure - doubt > limits.limits.fading and abs(after.auc - CHANCE) < NOTHING_LEFT
    words = f"its AUC is {before.auc:.3f} on earlier leads and {after.auc:.3f} on the latest"
    yield Trial(views.column.name, "fading", figure, limits.limits.fading, is_leak, words)


def _losses(
    codes: IntArray, sample: Sample, early: BoolArray, days: FloatArray
) -> Iterator[tuple[Power, Power]]:
    """Yield power before and after, on later rows whose group was seen before.

    A view that tells the day has no power to lose: its groups end with their time.
    """
    happened, learned = sample.happened, sample.learned & early
    often = np.bincount(codes[learned], minlength=int(codes.max()) + 1) >= LEAST_OF_A_GROUP
    stretches = [sample.judged & early, ~early & often[codes]]
    if not all(is_enough(happened[rows]) for rows in (learned, *stretches)):
        return
    if _share_explained(codes, days) > TELLS_THE_DAY:
        return
    told = rates(codes, happened, learned)
    before, after = (power(told[rows], happened[rows]) for rows in stretches)
    yield before, after


def _share_explained(codes: IntArray, days: FloatArray) -> float:
    count = np.bincount(codes)
    mean = np.bincount(codes, weights=days) / np.maximum(count, 1)
    spread = float(days.var())
    return float(1 - ((days - mean[codes]) ** 2).mean() / spread) if spread else 1.0
