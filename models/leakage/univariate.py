"""The univariate leak tests: one column and the outcome, without the other columns.

The estimates that the multivariate tests share are here as well: the sample in three parts,
outcome rates by group, and the AUC with its standard error.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from expectations import policy
from expectations.policy_types import LeakTest
from models.leakage.columns import Column, Groupings
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import auc, mean_of_placements, placement_values

RANDOM_AUC = 0.5
MAX_DECAYED_DISTANCE = 0.05
"""Distance from the AUC of a random order up to which a column has lost its discrimination.

A column with the opposite relation has not lost it: the market has changed, which is no leak."""
EARLY_SHARE = 0.7
"""Share of the rows, by lead day, that are the early ones."""
MIN_GROUP_ROWS = 20
"""Rows of a group from which on its rate is compared."""
MAX_DAY_R2 = 0.5
"""Share of the variance of lead days that a grouping may explain; above it, it encodes the date."""
SMOOTHING = 10.0
"""Rows of the overall rate that are added to each group: a small group shrinks toward it."""


@dataclass(frozen=True)
class LeakTestResult:
    """One column under one test."""

    name: str
    test: LeakTest
    value: float
    limit: float
    is_leak: bool
    description: str
    """The statistic in words; it never contains a value of any row."""


@dataclass(frozen=True)
class AucEstimate:
    """Area under the ROC curve, or a difference of two, with its standard error."""

    auc: float
    standard_error: float

    def lower_bound(self, z: float) -> float:
        """Return the estimate less `z` standard errors."""
        return self.auc - z * self.standard_error


@dataclass(frozen=True)
class LeakSample:
    """The rows on which columns are tested, in three disjoint parts."""

    outcome: FloatArray
    lead_days: FloatArray | None
    train_rows: BoolArray
    """Group rates and the model of the weak columns are fitted on these."""
    increment_rows: BoolArray
    """The increment of one more column is fitted on these."""
    evaluation_rows: BoolArray

    @property
    def parts(self) -> tuple[BoolArray, BoolArray, BoolArray]:
        """The three parts."""
        return self.train_rows, self.increment_rows, self.evaluation_rows

    def estimate_auc(self, scores: FloatArray) -> AucEstimate:
        """Return the AUC of `scores` (of every row) on the evaluation rows."""
        return estimate_auc(scores[self.evaluation_rows], self.outcome[self.evaluation_rows])

    def estimate_auc_gain(self, before: FloatArray, after: FloatArray) -> AucEstimate:
        """Return the AUC of `after` less that of `before` on the evaluation rows, paired."""
        outcome = self.outcome[self.evaluation_rows]
        first, then = (
            placement_values(scores[self.evaluation_rows], outcome) for scores in (before, after)
        )
        return AucEstimate(*mean_of_placements(then[0] - first[0], then[1] - first[1]))


@dataclass(frozen=True)
class BestGrouping:
    """The grouping of a column with the highest lower bound of the AUC."""

    grouping: str
    codes: IntArray
    estimate: AucEstimate


def has_both_classes(outcome: FloatArray) -> bool:
    """Return whether each class has the number of rows that the policy asks for."""
    positive = float(outcome.sum())
    rarer = min(positive, len(outcome) - positive)
    return rarer >= policy.leaks().min_rows_of_a_class


def group_rates(codes: IntArray, outcome: FloatArray, train_rows: BoolArray) -> FloatArray:
    """Return for every row the smoothed outcome rate of its group among `train_rows`."""
    size = int(codes.max()) + 1
    count = np.bincount(codes[train_rows], minlength=size)
    positive = np.bincount(codes[train_rows], weights=outcome[train_rows], minlength=size)
    rates = (positive + SMOOTHING * outcome[train_rows].mean()) / (count + SMOOTHING)
    return np.asarray(rates[codes])


def estimate_auc(scores: FloatArray, outcome: FloatArray) -> AucEstimate:
    """Return the AUC of `scores` and its standard error (DeLong and others, 1988)."""
    return AucEstimate(*auc(scores, outcome))


def find_best_grouping(groupings: Groupings, sample: LeakSample) -> BestGrouping | None:
    """Return the most discriminating grouping of a column; None if it is constant."""
    z = policy.leaks().deviations
    estimates = []
    for name, codes in groupings:
        rates = group_rates(codes, sample.outcome, sample.train_rows)
        estimates.append(BestGrouping(name, codes, sample.estimate_auc(rates)))
    return max(estimates, key=lambda one: one.estimate.lower_bound(z), default=None)


def run_univariate_tests(
    groupings: Groupings, sample: LeakSample, best: BestGrouping
) -> Iterator[LeakTestResult]:
    """Yield the tests `univariate_auc`, `missingness_auc` and `auc_decay` of a column."""
    yield _test_auc(groupings, best)
    yield from _test_missingness(groupings, sample)
    yield from _test_decay(groupings, sample)


def run_date_test(groupings: Groupings) -> Iterator[LeakTestResult]:
    """Yield the test `future_dates`: dates after the lead's day were not known on it."""
    days, lead_days = groupings.column.days, groupings.lead_days
    if days is None or lead_days is None:
        return
    known = ~np.isnan(days) & ~np.isnan(lead_days)
    if known.sum() < policy.leaks().min_rows_of_a_class:
        return
    after = days[known] > lead_days[known] + groupings.column.is_timestamp
    share, limit = float(after.mean()), policy.leaks().limits.future_dates
    description = f"{share:.1%} of its dates lie after the day of their lead"
    name = groupings.column.name
    yield LeakTestResult(name, "future_dates", share, limit, share > limit, description)


def run_missing_label_test(column: Column, no_label: BoolArray) -> Iterator[LeakTestResult]:
    """Yield the test `missing_label_overlap`: the Jaccard index of missing values and labels."""
    rules, missing = policy.leaks(), column.is_missing
    either = missing | no_label
    if no_label.sum() < rules.min_rows_of_a_class or not missing.any():
        return
    share = float((missing & no_label).sum() / either.sum())
    limit = rules.limits.missing_label_overlap
    description = f"of the rows without a value or without an outcome, {share:.1%} have neither"
    yield LeakTestResult(
        column.name, "missing_label_overlap", share, limit, share > limit, description
    )


def _test_auc(groupings: Groupings, best: BestGrouping) -> LeakTestResult:
    rules, auc = policy.leaks(), best.estimate.auc
    limit = rules.limits.univariate_auc
    is_leak = best.estimate.lower_bound(rules.deviations) > limit
    description = f"{best.grouping} alone ranks {auc:.1%} of the pairs of rows correctly"
    return LeakTestResult(groupings.column.name, "univariate_auc", auc, limit, is_leak, description)


def _test_missingness(groupings: Groupings, sample: LeakSample) -> Iterator[LeakTestResult]:
    missing, rules = groupings.column.is_missing, policy.leaks()
    if missing.all() or not missing.any():
        return
    positive = sample.outcome == 1
    estimate = estimate_auc(missing.astype(np.float64), sample.outcome)
    auc, limit = max(estimate.auc, 1 - estimate.auc), rules.limits.missingness_auc
    is_leak = auc - rules.deviations * estimate.standard_error > limit
    description = (
        f"it is missing in {missing[positive].mean():.1%} of the rows with the outcome and in "
        f"{missing[~positive].mean():.1%} of the others, which ranks {auc:.1%} of the pairs "
        "correctly"
    )
    yield LeakTestResult(groupings.column.name, "missingness_auc", auc, limit, is_leak, description)


def _test_decay(groupings: Groupings, sample: LeakSample) -> Iterator[LeakTestResult]:
    """Yield the largest loss of AUC from early to late leads among the groupings."""
    days, rules = groupings.lead_days, policy.leaks()
    if days is None:
        return
    early = days < np.quantile(days, EARLY_SHARE, method="higher")
    pairs = [pair for _, codes in groupings for pair in _early_and_late(codes, sample, early, days)]
    if not pairs:
        return
    before, after = max(pairs, key=lambda pair: pair[0].auc - pair[1].auc)
    loss, limit = before.auc - after.auc, rules.limits.auc_decay
    tolerance = rules.deviations * float(np.hypot(before.standard_error, after.standard_error))
    is_leak = loss - tolerance > limit and abs(after.auc - RANDOM_AUC) < MAX_DECAYED_DISTANCE
    description = f"its AUC is {before.auc:.3f} on earlier leads and {after.auc:.3f} on the latest"
    yield LeakTestResult(groupings.column.name, "auc_decay", loss, limit, is_leak, description)


def _early_and_late(
    codes: IntArray, sample: LeakSample, early: BoolArray, days: FloatArray
) -> Iterator[tuple[AucEstimate, AucEstimate]]:
    """Yield the AUC on early rows, and on late rows whose group was seen early.

    A grouping that encodes the date is left out: its groups end with their time.
    """
    outcome, train_rows = sample.outcome, sample.train_rows & early
    seen = np.bincount(codes[train_rows], minlength=int(codes.max()) + 1) >= MIN_GROUP_ROWS
    windows = [sample.evaluation_rows & early, ~early & seen[codes]]
    if not all(has_both_classes(outcome[rows]) for rows in (train_rows, *windows)):
        return
    if _day_r2(codes, days) > MAX_DAY_R2:
        return
    rates = group_rates(codes, outcome, train_rows)
    before, after = (estimate_auc(rates[rows], outcome[rows]) for rows in windows)
    yield before, after


def _day_r2(codes: IntArray, days: FloatArray) -> float:
    """Return the share of the variance of lead days that the groups explain."""
    count = np.bincount(codes)
    mean = np.bincount(codes, weights=days) / np.maximum(count, 1)
    variance = float(days.var())
    return float(1 - ((days - mean[codes]) ** 2).mean() / variance) if variance else 1.0
