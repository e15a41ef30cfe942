"""Fit one model: select its size, validate it out of time, calibrate it, train it on all rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.explanations.reference_profile import ReferenceProfile
from models.params import Features, params
from models.scoring.calibration import fit_calibration
from models.scoring.estimators import Prior, TrainedModel
from models.training.boosting import (
    EnsembleSize,
    Examples,
    TrainingSet,
    select_size,
    train_ensemble,
)
from models.training.optional_features import compare_groups, select_features
from models.training.paired_bootstrap import ModelOutcomes, compare
from models.validation.backtest import run_backtest
from models.validation.metrics import estimate_lender_drift, evaluate
from models.validation.splits import Split, row_weights
from pipelines.core.arrays import FloatArray, spread_evenly
from pipelines.core.statistics import sigmoid

THREADS = 1
"""As in training: more threads gain little and lose much if another process needs a core."""

RANDOM_AUC = 0.5
"""AUC of a random order."""


class InsufficientData(Exception):
    """There are too few rows to train or validate on; the text has the number and the limit."""


def fit(
    table: pa.Table,
    features: Features,
    splits: Sequence[Split],
    *,
    use_recency: bool = True,
    prior: Prior | None = None,
    optional: Mapping[str, Collection[str]] | None = None,
) -> tuple[TrainedModel, dict[str, Any]]:
    """Return a calibrated model of the labels of `table`, and the metadata of its validation.

    Args:
        table: Examples as `dataset.load_examples` returns them, in an order that never changes. The
            weight of a row is its column `weight`, if there is one.
        features: The features of the model.
        splits: Two or more. The first selects the number of trees; the last gives the metrics,
            calibrated on the one before it, and calibrates the final model.
        use_recency: True if older rows weigh less in training, as they do if the model predicts
            later leads.
        prior: The prior that is compared with the model on the rows of the metrics.
        optional: Groups of the features, by name, that are left out unless the model predicts
            better with them.

    Raises:
        InsufficientData: A split has too few rows, or too few of a class; or the model ranks later
            leads worse than chance.
    """
    labels, weights = np.asarray(table["label"].to_numpy(), dtype=np.float64), row_weights(table)
    for split in splits:
        _require_rows(labels[split.train], "known early enough to train a model for validation")
        _require_rows(labels[split.validate], "to validate a model on")
    prepared = _prepare(table, features, splits, use_recency=use_recency)
    base_weights = weights[splits[0].train]
    whole_size = _scale(prepared.size, weights, base_weights)
    tests = list(
        compare_groups(table, features, optional or {}, whole_size, use_recency=use_recency)
    )
    if not all(test.is_kept for test in tests):
        features = select_features(features, tests)
        prepared = _prepare(table, features, splits, use_recency=use_recency)
    examples, training_sets, size = prepared.examples, prepared.training_sets, prepared.size
    raw = [
        _predict_later(training_set, split, _scale(size, weights[split.train], base_weights))
        for training_set, split in zip(training_sets, splits, strict=True)
    ]
    outcomes = [labels[split.validate] for split in splits]
    counts = [weights[split.validate] for split in splits]
    before, last = (fit_calibration(raw[at], outcomes[at], counts[at]) for at in (-2, -1))
    metrics = evaluate(before(raw[-1]), outcomes[-1], counts[-1]).as_dict()
    _require_discrimination(metrics)
    last_rows = table.filter(pa.array(splits[-1].validate))
    size = _scale(size, weights, base_weights)
    whole = TrainingSet.prepare(examples, np.ones(len(labels), dtype=bool))
    model = replace(train_ensemble(whole, size), calibration=last)
    metadata = {
        "figures": metrics,
        "figures_before_calibration": evaluate(raw[-1], outcomes[-1], counts[-1]).as_dict(),
        "lender_drift": _estimate_drift(table, splits, raw, outcomes, counts),
        "trees": size.total,
        "ensemble": size.ensemble,
        "data_sha256": examples.sha256(),
        "reference_profile": ReferenceProfile.fit(table, model.encoder, whole.matrix).as_dict(),
        "validation": run_backtest(last_rows, before(raw[-1])),
    }
    if tests:
        metadata["optional_features"] = {test.name: test.as_dict() for test in tests}
    if prior:
        metadata["against_prior"] = _compare_to_prior(prior, last_rows, before(raw[-1]), counts[-1])
    return model, metadata


@dataclass(frozen=True)
class _Prepared:
    """The rows in the columns of the model, ready for training, and the size of the model."""

    examples: Examples
    training_sets: list[TrainingSet]
    """Of each split."""
    size: EnsembleSize
    """For the rows of the first split."""


def _prepare(
    table: pa.Table, features: Features, splits: Sequence[Split], *, use_recency: bool
) -> _Prepared:
    examples = Examples.encode(table, features, use_recency=use_recency)
    training_sets = [TrainingSet.prepare(examples, split.train) for split in splits]
    return _Prepared(examples, training_sets, select_size(training_sets[0], splits[0].validate))


def _compare_to_prior(
    prior: Prior, rows: pa.Table, predicted: FloatArray, counts: FloatArray
) -> dict[str, dict[str, float]]:
    """Return the metrics of prior and model on later leads, and their difference."""
    sample = spread_evenly(rows.num_rows, params().challenge.max_rows)
    rows = rows.take(pa.array(sample))
    label = params().models[prior.model].label
    outcomes = ModelOutcomes.from_examples(rows, label, weights=counts[sample])
    differences = compare(outcomes, prior.predict(rows, threads=THREADS), predicted[sample])
    return {name: difference.as_dict() for name, difference in differences.items()}


def _predict_later(training_set: TrainingSet, split: Split, size: EnsembleSize) -> FloatArray:
    """Return uncalibrated probabilities of the validation rows by a model of earlier rows."""
    model = train_ensemble(training_set, size)
    return sigmoid(model.predict_log_odds(training_set.matrix[split.validate], threads=THREADS))


def _estimate_drift(
    table: pa.Table,
    splits: Sequence[Split],
    predicted: Sequence[FloatArray],
    outcomes: Sequence[FloatArray],
    weights: Sequence[FloatArray],
) -> float:
    """Return the variance of the lenders' log-odds around their prediction (lender drift).

    Each lender is one group for each validation window; rows without a lender are left out, and a
    table without lenders has no drift.
    """
    if "institution_id" not in table.column_names:
        return 0.0
    encoded = pc.dictionary_encode(table["institution_id"].combine_chunks())
    lenders = pc.fill_null(encoded.indices, -1).to_numpy()
    by_window = [lenders[split.validate] for split in splits]
    known = np.concatenate(by_window) >= 0
    groups = np.concatenate(
        [number * len(encoded.dictionary) + codes for number, codes in enumerate(by_window)]
    )
    rows = (np.concatenate(parts)[known] for parts in (predicted, outcomes, weights))
    all_predicted, all_outcomes, all_weights = rows
    return estimate_lender_drift(
        all_predicted, all_outcomes, groups[known].astype(np.int64), all_weights
    )


def _scale(size: EnsembleSize, weights: FloatArray, base_weights: FloatArray) -> EnsembleSize:
    """Return the size for rows of these weights, if `size` was selected on `base_weights`."""
    return size.scale(float(weights.sum()) / float(base_weights.sum()))


def _require_rows(labels: FloatArray, purpose: str) -> None:
    rows, positives = len(labels), int(labels.sum())
    rarer = min(positives, rows - positives)
    if rows < params().min_rows:
        raise InsufficientData(
            f"{rows:,} rows {purpose}; `min_rows` in models/params.yml is {params().min_rows:,}"
        )
    if rarer < params().min_rows_of_a_class:
        raise InsufficientData(
            f"{rarer:,} rows of the rarer class {purpose}; `min_rows_of_a_class` in "
            f"models/params.yml is {params().min_rows_of_a_class:,}"
        )


def _require_discrimination(metrics: dict[str, Any]) -> None:
    """Reject a model that ranks later leads in the wrong order; a prior does less harm.

    It happens if labels change their meaning, such as funding reported under another date.
    """
    if metrics["auc_high"] < RANDOM_AUC:
        raise InsufficientData(
            f"a model ranked later leads worse than chance (AUC {metrics['auc']:.3f}, at most "
            f"{metrics['auc_high']:.3f} with 95% confidence)"
        )
