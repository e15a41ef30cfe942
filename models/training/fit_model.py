"""Fit one model: choose its size, calibrate it and measure it on rows it was not fitted on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.explanations.reference_profile import ReferenceProfile
from models.params import Features, params
from models.scoring import calibration
from models.scoring.estimators import Prior, Trained
from models.training import boosting
from models.training.boosting import Examples, Lesson, Size
from models.training.paired_bootstrap import Outcomes, compare
from models.validation.backtest import checked
from models.validation.metrics import evaluate, movement
from models.validation.splits import Split, weights_of
from pipelines.core.arrays import FloatArray, spread_evenly
from pipelines.core.statistics import sigmoid

THREADS = 1
"""As in training: more gain little and lose much where another process wants a core."""

CHANCE = 0.5
"""AUC of a coin."""


class TooLittle(Exception):
    """There is too little to learn from or to check on; the text says how much and the limit."""


def fit(
    table: pa.Table,
    features: Features,
    splits: Sequence[Split],
    *,
    forgets: bool = True,
    prior: Prior | None = None,
) -> tuple[Trained, dict[str, Any]]:
    """Return a calibrated model of the labels of `table`, and the facts of how it was checked.

    Args:
        table: Examples as `dataset.examples` returns them, in an order that never changes. Rows
            count by its column `weight`, if there is one.
        features: What the model looks at.
        splits: Two or more. The first chooses the number of trees; the last gives the figures,
            calibrated on the one before it, and calibrates what is kept.
        forgets: Whether older rows count less to learn from, as they do where later leads are asked
            about.
        prior: What is compared with the model on the rows of those figures; None: nothing.

    Raises:
        TooLittle: A split has too few rows, or too few of a class; or what was learned turns out
            worse than chance on later leads, so that there was nothing to learn.
    """
    labels, weights = np.asarray(table["label"].to_numpy(), dtype=np.float64), weights_of(table)
    for split in splits:
        _demand_enough(labels[split.fit], "known early enough to fit a model that is checked")
        _demand_enough(labels[split.check], "to check a model on")
    seen = Examples.of(table, features, forgets=forgets)
    lessons = [Lesson.of(seen, split.fit) for split in splits]
    size = boosting.size(lessons[0], splits[0].check)
    raw = [
        _checked(lesson, split, _grown(size, weights[split.fit], weights[splits[0].fit]))
        for lesson, split in zip(lessons, splits, strict=True)
    ]
    happened = [labels[split.check] for split in splits]
    counts = [weights[split.check] for split in splits]
    before, last = (calibration.fit(raw[at], happened[at], counts[at]) for at in (-2, -1))
    figures = evaluate(before(raw[-1]), happened[-1], counts[-1]).as_dict()
    _demand_better_than_chance(figures)
    last_rows = table.filter(pa.array(splits[-1].check))
    everything = np.ones(len(labels), dtype=bool)
    size = _grown(size, weights, weights[splits[0].fit])
    whole = Lesson.of(seen, everything)
    model = replace(boosting.learn(whole, size), calibration=last)
    facts = {
        "figures": figures,
        "figures_before_calibration": evaluate(raw[-1], happened[-1], counts[-1]).as_dict(),
        "lenders_move": _moved(table, splits, raw, happened, counts),
        "trees": size.total,
        "shape": size.shape,
        "data_sha256": seen.sha256(),
        "reference_profile": ReferenceProfile.fit(table, model.encoder, whole.matrix).as_dict(),
        "validation": checked(last_rows, before(raw[-1])),
    }
    if prior:
        facts["against_prior"] = _against(prior, last_rows, before(raw[-1]), counts[-1])
    return model, facts


def _against(
    prior: Prior, rows: pa.Table, predicted: FloatArray, counts: FloatArray
) -> dict[str, dict[str, float]]:
    """Return what the prior shows on later leads, what the model shows, and their difference."""
    some = spread_evenly(rows.num_rows, params().challenge.most_rows)
    rows = rows.take(pa.array(some))
    found = Outcomes.of(rows, params().models[prior.model].label, counts=counts[some])
    differences = compare(found, prior.predict(rows, threads=THREADS), predicted[some])
    return {name: difference.as_dict() for name, difference in differences.items()}


def _checked(lesson: Lesson, split: Split, size: Size) -> FloatArray:
    """Return what a model of the rows to fit on says of those to check on, uncalibrated."""
    said = boosting.learn(lesson, size).log_odds(lesson.matrix[split.check], threads=THREADS)
    return sigmoid(said)


def _moved(
    table: pa.Table,
    splits: Sequence[Split],
    said: Sequence[FloatArray],
    happened: Sequence[FloatArray],
    counts: Sequence[FloatArray],
) -> float:
    """Return how far lenders moved from what was said of them: a variance of log-odds.

    Each lender counts once for each stretch that a model was checked on; rows without one tell
    nothing, and a table without lenders neither.
    """
    if "institution_id" not in table.column_names:
        return 0.0
    named = pc.dictionary_encode(table["institution_id"].combine_chunks())
    lenders = pc.fill_null(named.indices, -1).to_numpy()
    of_stretches = [lenders[split.check] for split in splits]
    known = np.concatenate(of_stretches) >= 0
    groups = np.concatenate(
        [number * len(named.dictionary) + codes for number, codes in enumerate(of_stretches)]
    )
    of_rows = (np.concatenate(parts)[known] for parts in (said, happened, counts))
    predicted, outcomes, weights = of_rows
    return movement(predicted, outcomes, groups[known].astype(np.int64), weights)


def _grown(size: Size, weights: FloatArray, sized_on: FloatArray) -> Size:
    """Return the size for rows of these weights, when `size` serves best those of `sized_on`."""
    return size.grown(float(weights.sum()) / float(sized_on.sum()))


def _demand_enough(labels: FloatArray, purpose: str) -> None:
    rows, positive = len(labels), int(labels.sum())
    fewest = min(positive, rows - positive)
    if rows < params().min_rows:
        raise TooLittle(
            f"{rows:,} rows {purpose}; `min_rows` in models/params.yml is {params().min_rows:,}"
        )
    if fewest < params().min_rows_of_a_class:
        raise TooLittle(
            f"{fewest:,} rows of the rarer class {purpose}; `min_rows_of_a_class` in "
            f"models/params.yml is {params().min_rows_of_a_class:,}"
        )


def _demand_better_than_chance(figures: dict[str, Any]) -> None:
    """Refuse a model that puts later leads in the wrong order beyond doubt; a prior does no harm.

    It happens where labels mean another thing later, such as funding told on another date.
    """
    if figures["auc_high"] < CHANCE:
        raise TooLittle(
            f"a model ranked later leads worse than chance (AUC {figures['auc']:.3f}, at most "
            f"{figures['auc_high']:.3f} with 95% confidence)"
        )
