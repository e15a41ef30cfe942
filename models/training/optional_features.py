"""Optional features: a group of columns that a model has only if they improve what it predicts.

Columns without information are not free: trees split on them by chance, the more often the fewer
outcomes there are. So by cross-validation, leads undivided, a model without the group predicts the
rows left out, and a few trees of the group's columns correct it. The group stays if that lowers the
log loss beyond chance (docs/decisions/optional-features.md).

Cross-validation and not the out-of-time windows: a default is rare, and each one counts here once.
Whether a column holds over time, the leak check and the validation of the model say.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from models.params import Features, params
from models.training.boosting import (
    EnsembleSize,
    Examples,
    TrainingSet,
    boost_margin,
    train_ensemble,
)
from models.training.paired_bootstrap import encode_leads
from models.validation.splits import is_inferred, row_weights
from pipelines.core.arrays import BoolArray, FloatArray, IntArray, spread_evenly
from pipelines.core.statistics import auc

DEVIATIONS = 1.645
"""Standard errors that the gain must exceed: 5% of one side of a normal distribution. A group
without information has a loss on average, so it stays by chance less often than that."""
DIGITS = 6


@dataclass(frozen=True)
class GroupTest:
    """What one group of optional features adds to a model without it, on rows left out."""

    name: str
    columns: tuple[str, ...]
    gain: float
    """Log loss without the group less that with it, mean over rows."""
    standard_error: float
    auc: tuple[float, float]
    """AUC without the group, and with it."""

    @property
    def is_kept(self) -> bool:
        """Return whether the gain is positive beyond chance."""
        return self.gain > DEVIATIONS * self.standard_error

    def as_dict(self) -> dict[str, Any]:
        """Return the decision and its figures with the 90% interval, for the metadata."""
        margin = DEVIATIONS * self.standard_error
        figures = {
            "gain": self.gain,
            "gain_low": self.gain - margin,
            "gain_high": self.gain + margin,
            "auc_without": self.auc[0],
            "auc_with": self.auc[1],
        }
        rounded = {name: round(value, DIGITS) for name, value in figures.items()}
        return {"kept": self.is_kept, "columns": list(self.columns)} | rounded


def select_features(features: Features, tests: Iterable[GroupTest]) -> Features:
    """Return `features` without the columns of the groups that are not kept."""
    left_out = (column for test in tests if not test.is_kept for column in test.columns)
    return features.without(frozenset(left_out))


def compare_groups(
    table: pa.Table,
    features: Features,
    groups: Mapping[str, Collection[str]],
    size: EnsembleSize,
    *,
    use_recency: bool,
) -> Iterator[GroupTest]:
    """Yield the test of each group of `features` in turn, without the groups that failed before.

    A group of which no row has a value is not tested: there is nothing to decide.

    Args:
        table: The training rows; rows of reject inference are trained on, not compared.
        features: All features of the model.
        groups: The columns of each group, by its name.
        size: The size of the models, selected for as many rows as `table` has.
        use_recency: True if older rows weigh less in training.
    """
    tested = dict(_list_testable(table, features, groups))
    if not tested:
        return
    rows = _sample_leads(table, params().optional_features.max_rows)
    size = size.scale(float(row_weights(rows).sum()) / float(row_weights(table).sum()))
    for name, columns in tested.items():
        rest = features.without(frozenset(columns))
        group = features.without(frozenset(rest.names))
        base, added = (
            Examples.encode(rows, part, use_recency=use_recency) for part in (rest, group)
        )
        test = _measure_gain(name, columns, *_predict_left_out(base, added, size), base)
        if not test.is_kept:
            features = rest
        yield test


def _list_testable(
    table: pa.Table, features: Features, groups: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the groups of which any row has a value, with the columns that are features."""
    for name, listed in groups.items():
        columns = tuple(column for column in features.names if column in set(listed))
        if any(table[column].null_count < table.num_rows for column in columns):
            yield name, columns


def _sample_leads(table: pa.Table, max_rows: int) -> pa.Table:
    """Return all rows of some leads, spread evenly over the table: about `max_rows` rows."""
    lead = encode_leads(table)
    leads = int(lead.max()) + 1
    drawn = spread_evenly(leads, max(1, leads * max_rows // table.num_rows))
    return table.filter(pa.array(np.isin(lead, drawn)))


def _predict_left_out(
    base: Examples, added: Examples, size: EnsembleSize
) -> tuple[FloatArray, FloatArray]:
    """Return the log-odds of each row by models of the other folds: without the group, and with it.

    Args:
        base: The rows in the columns of the model without the group.
        added: The same rows in the columns of the group.
        size: The size of a model of all rows.
    """
    rules = params().optional_features
    fold = _draw_folds(base.table)
    without, whole = np.empty(len(fold)), np.empty(len(fold))
    for number in range(rules.folds):
        left_out = fold == number
        training_set = TrainingSet.prepare(base, ~left_out)
        model = train_ensemble(training_set, size.scale(float((~left_out).mean())))
        margin = model.predict_log_odds(training_set.matrix, threads=1)
        more = boost_margin(added, ~left_out, margin, rules.trees, rules.boosting)
        without[left_out], whole[left_out] = margin[left_out], (margin + more)[left_out]
    return without, whole


def _draw_folds(rows: pa.Table) -> IntArray:
    """Return the fold of each row, the same for all rows of a lead."""
    lead = encode_leads(rows)
    random = np.random.default_rng(params().boosting["seed"])
    return (random.permutation(int(lead.max()) + 1) % params().optional_features.folds)[lead]


def _measure_gain(
    name: str, columns: tuple[str, ...], without: FloatArray, whole: FloatArray, rows: Examples
) -> GroupTest:
    """Return the gain over observed rows; its error counts the rows of one lead as one draw."""
    compared: BoolArray = ~is_inferred(rows.table)
    labels, weights = rows.labels[compared], row_weights(rows.table)[compared]
    sign = np.where(labels > 0, -1.0, 1.0)
    losses = [np.logaddexp(0, sign * log_odds[compared]) for log_odds in (without, whole)]
    gains = weights * (losses[0] - losses[1])
    gain = float(gains.sum() / weights.sum())
    by_lead = np.bincount(encode_leads(rows.table)[compared], gains - weights * gain)
    standard_error = float(np.sqrt(np.sum(by_lead**2)) / weights.sum())
    areas = (auc(log_odds[compared], labels)[0] for log_odds in (without, whole))
    return GroupTest(name, columns, gain, standard_error, (next(areas), next(areas)))
