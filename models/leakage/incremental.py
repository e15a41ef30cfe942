"""The multivariate leak tests: what a column adds to the others.

They separate a leak from a column that is merely good. Columns are taken from the weakest to the
strongest. Each is tested against the weaker ones that passed, so that a copy never excuses a leak.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np

from expectations import policy
from models.leakage.columns import Groupings
from models.leakage.univariate import BestGrouping, LeakSample, LeakTestResult, group_rates
from models.params import params
from models.validation.splits import split_at_random
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.statistics import logit, sigmoid

MIN_TESTED_AUC = 0.58
"""Univariate AUC from which on a column is tested on its own; weaker ones form the baseline."""
PURE_SHARE = 0.98
"""Share of one outcome from which on a group counts as pure."""
MIN_GROUP_ROWS = 20
MIN_PURE_SHARE_OF_ROWS = 0.005
"""Share of the rows that must lie in pure groups."""
INNER_FOLDS = 3
"""Folds within the training rows, for rates to which a row does not contribute itself."""
SMALL_TREES = {
    "objective": "binary",
    "verbosity": -1,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "learning_rate": 0.1,
    "feature_fraction": 0.5,
}
"""Nearly the order of a tuned model in a tenth of the time."""
ROUNDS = 60
ALL_COLUMNS = {"feature_fraction": 1.0}
"""With few columns, every tree uses each."""


@dataclass(frozen=True)
class PureSubgroup:
    """Evaluation rows in groups that had nearly one outcome among the training rows."""

    grouping: str
    share: float
    """Of all evaluation rows."""
    opposite: float
    """Share of them with the opposite outcome."""
    expected: float
    """Share of them for which the baseline expects the opposite outcome."""
    standard_error: float

    @property
    def excess(self) -> float:
        """Return the expected less the observed share of the opposite outcome."""
        return self.expected - self.opposite


def run_incremental_tests(
    groupings: Mapping[str, Groupings],
    sample: LeakSample,
    best: Mapping[str, BestGrouping],
    failed: frozenset[str],
) -> Iterator[LeakTestResult]:
    """Yield the tests `incremental_gain` and `quasi_separation` of each column that needs them.

    Args:
        groupings: By column.
        sample: The rows.
        best: The best grouping by column; constant columns are not in it.
        failed: Columns that failed another test: never part of the baseline.
    """
    order = sorted(best, key=lambda name: (best[name].estimate.auc, name))
    tested = [n for n in order if n in failed or _needs_test(groupings[n], sample, best[n])]
    weak = [
        values
        for n in order
        if n not in tested
        for values in _inputs(groupings[n], best[n], sample)
    ]
    baseline = [fit_weak_columns(weak, sample)]
    log_odds = fit_strong_columns(baseline, sample)
    for name in tested:
        with_column = [*baseline, *_inputs(groupings[name], best[name], sample)]
        log_odds_with = fit_strong_columns(with_column, sample)
        results = [
            _test_gain(name, log_odds, log_odds_with, sample),
            *_test_separation(groupings[name], log_odds, sample),
        ]
        yield from results
        if name not in failed and not any(result.is_leak for result in results):
            baseline, log_odds = with_column, log_odds_with


def fit_weak_columns(columns: Sequence[FloatArray], sample: LeakSample) -> FloatArray:
    """Return the log-odds by small trees over the weak columns for all rows not trained on."""
    if not columns:
        share = sample.outcome[sample.train_rows].mean()
        return np.full(len(sample.outcome), float(logit(share)))
    return _boost(columns, sample, sample.train_rows, ~sample.train_rows, SMALL_TREES)


def fit_strong_columns(columns: Sequence[FloatArray], sample: LeakSample) -> FloatArray:
    """Return the log-odds of the evaluation rows by strong columns and the score of the weak ones.

    The fit is on the increment rows, on which no rate or score was fitted: without hindsight.
    """
    rows, predicted_rows = sample.increment_rows, sample.evaluation_rows
    return _boost(columns, sample, rows, predicted_rows, SMALL_TREES | ALL_COLUMNS)


def cross_fit_rates(codes: IntArray, sample: LeakSample) -> FloatArray:
    """Return group rates in which no training row contributes to its own."""
    rates = group_rates(codes, sample.outcome, sample.train_rows)
    rows = np.flatnonzero(sample.train_rows)
    for fold in split_at_random(len(rows), INNER_FOLDS):
        others = np.zeros(len(codes), dtype=bool)
        others[rows[fold.train]] = True
        rates[rows[fold.validate]] = group_rates(codes, sample.outcome, others)[rows[fold.validate]]
    return rates


def _needs_test(groupings: Groupings, sample: LeakSample, best: BestGrouping) -> bool:
    rules = policy.leaks()
    constant = fit_weak_columns((), sample)
    return best.estimate.lower_bound(rules.deviations) > MIN_TESTED_AUC or any(
        subgroup.excess > rules.limits.quasi_separation / 2
        for subgroup in _find_pure_subgroups(groupings, constant, sample)
    )


def _inputs(groupings: Groupings, best: BestGrouping, sample: LeakSample) -> Sequence[FloatArray]:
    rates, numbers = cross_fit_rates(best.codes, sample), groupings.column.numbers
    return (rates,) if numbers is None else (rates, numbers)


def _test_gain(
    name: str, log_odds: FloatArray, log_odds_with: FloatArray, sample: LeakSample
) -> LeakTestResult:
    rules = policy.leaks()
    before = sample.estimate_auc(log_odds).auc
    gain = sample.estimate_auc_gain(log_odds, log_odds_with)
    reached = sample.estimate_auc(log_odds_with).lower_bound(rules.deviations)
    misranked = max(1 - before, 1e-9)
    share, limit = gain.auc / misranked, rules.limits.incremental_gain
    is_large = gain.lower_bound(rules.deviations) / misranked > limit
    description = (
        f"with it the AUC of the weaker columns rises from {before:.3f} to "
        f"{before + gain.auc:.3f}: {share:.0%} of the pairs that they misrank are corrected"
    )
    is_leak = reached > rules.limits.incremental_gain_min_auc and is_large
    return LeakTestResult(name, "incremental_gain", share, limit, is_leak, description)


def _test_separation(
    groupings: Groupings, log_odds: FloatArray, sample: LeakSample
) -> Iterator[LeakTestResult]:
    rules = policy.leaks()
    subgroups = list(_find_pure_subgroups(groupings, log_odds, sample))
    if not subgroups:
        return
    most = max(subgroups, key=lambda one: one.excess - rules.deviations * one.standard_error)
    limit = rules.limits.quasi_separation
    is_leak = most.excess - rules.deviations * most.standard_error > limit
    description = (
        f"{most.grouping} determines the outcome in {most.share:.1%} of the rows: "
        f"{most.opposite:.1%} of them have the opposite outcome, where the other columns expect "
        f"{most.expected:.1%}"
    )
    name = groupings.column.name
    yield LeakTestResult(name, "quasi_separation", most.excess, limit, is_leak, description)


def _find_pure_subgroups(
    groupings: Groupings, log_odds: FloatArray, sample: LeakSample
) -> Iterator[PureSubgroup]:
    """Yield for each grouping and outcome the evaluation rows of the groups pure in it."""
    outcome = sample.outcome[sample.evaluation_rows]
    probability = sigmoid(log_odds[sample.evaluation_rows])
    min_rows = max(policy.leaks().min_rows_of_a_class, MIN_PURE_SHARE_OF_ROWS * len(outcome))
    for name, codes in groupings:
        pure_outcome = _pure_outcomes(codes, sample)[codes[sample.evaluation_rows]]
        for side in (0, 1):
            inside = pure_outcome == side
            rows = int(inside.sum())
            if rows < min_rows:
                continue
            opposite = float((outcome[inside] != side).mean())
            expected = np.abs(side - probability[inside])
            if opposite <= 2 * (1 - PURE_SHARE):
                error = float(np.sqrt((expected * (1 - expected)).sum())) / rows
                share = rows / len(outcome)
                yield PureSubgroup(name, share, opposite, float(expected.mean()), error)


def _pure_outcomes(codes: IntArray, sample: LeakSample) -> IntArray:
    """Return the outcome in which each group is pure among the training rows; -1: in none."""
    size, rows = int(codes.max()) + 1, sample.train_rows
    count = np.bincount(codes[rows], minlength=size)
    positive = np.bincount(codes[rows], weights=sample.outcome[rows], minlength=size)
    share = positive / np.maximum(count, 1)
    pure = np.where(share >= PURE_SHARE, 1, np.where(share <= 1 - PURE_SHARE, 0, -1))
    return np.where(count >= MIN_GROUP_ROWS, pure, -1)


def _boost(
    columns: Sequence[FloatArray],
    sample: LeakSample,
    rows: BoolArray,
    predicted_rows: BoolArray,
    boosting: dict[str, object],
) -> FloatArray:
    """Fit on `rows` and return the log-odds of `predicted_rows`; nan for all others."""
    fixed = ("num_threads", "seed", "deterministic", "force_row_wise")
    settings = {name: params().boosting[name] for name in fixed} | boosting
    matrix: FloatArray = np.column_stack(columns)
    data = lightgbm.Dataset(matrix[rows], sample.outcome[rows], params=settings)
    booster = lightgbm.train(settings, data, ROUNDS)
    log_odds = np.full(len(matrix), np.nan)
    log_odds[predicted_rows] = booster.predict(
        matrix[predicted_rows], raw_score=True, num_threads=1
    )
    return log_odds
