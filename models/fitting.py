"""Fit one model: choose its size, calibrate it and measure it on rows it was not fitted on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa

from models import calibrate
from models.estimators import Trained
from models.evaluate import evaluate
from models.features import Encoder, Matrix, Numbers
from models.ordinary import Ordinary
from models.params import Features, params
from models.splits import Rows, Split, weights_of
from models.stability import checked

CHANCE = 0.5
"""AUC of a coin."""


class TooLittle(Exception):
    """There is too little to learn from or to check on; the text says how much and the limit."""


@dataclass(frozen=True)
class Data:
    """Rows as LightGBM sees them."""

    matrix: Matrix
    labels: Numbers
    categories: list[int]
    """Columns of `matrix` that hold categories."""
    weights: Numbers
    """How much each row counts."""
    told: dict[str, Any]
    """See `Features.told`."""

    def of(self, rows: Rows) -> lightgbm.Dataset:
        """Return some of the rows, to be fitted on."""
        return lightgbm.Dataset(
            self.matrix[rows],
            self.labels[rows],
            weight=self.weights[rows],
            categorical_feature=self.categories,
            params=self.boosting,
        )

    @property
    def boosting(self) -> dict[str, Any]:
        """Return what LightGBM is told."""
        return params().boosting | {"verbosity": -1} | self.told

    def sha256(self) -> str:
        """Return a hash of all that a model could learn from."""
        return hashlib.sha256(
            self.matrix.tobytes() + self.labels.tobytes() + self.weights.tobytes()
        ).hexdigest()


def fit(
    table: pa.Table, features: Features, splits: Sequence[Split]
) -> tuple[Trained, dict[str, Any]]:
    """Return a calibrated model of the labels of `table`, and the facts of how it was checked.

    Args:
        table: Examples as `dataset.examples` returns them, in an order that never changes. Rows
            count by its column `weight`, if there is one.
        features: What the model looks at.
        splits: Two or more. The first chooses the number of trees; the last gives the figures,
            calibrated on the one before it, and calibrates what is kept.

    Raises:
        TooLittle: A split has too few rows, or too few of a class; or what was learned turns out
            worse than chance on later leads, so that there was nothing to learn.
    """
    labels, weights = np.asarray(table["label"].to_numpy(), dtype=np.float64), weights_of(table)
    for split in splits:
        _demand_enough(labels[split.fit], "known early enough to fit a model that is checked")
        _demand_enough(labels[split.check], "to check a model on")
    encoder = Encoder.learned_from(table, features, least_rows=params().min_rows_of_a_category)
    data = Data(encoder.matrix(table), labels, encoder.categorical_indexes, weights, features.told)

    first, trees = _sized(data, splits[0])
    raw = [first, *(_predicted(data, split, trees) for split in splits[1:])]
    happened = [labels[split.check] for split in splits]
    counts = [weights[split.check] for split in splits]
    before, last = (calibrate.fit(raw[at], happened[at], counts[at]) for at in (-2, -1))
    figures = evaluate(before(raw[-1]), happened[-1], counts[-1]).as_dict()
    _demand_better_than_chance(figures)
    booster = _boosted(data, np.ones(len(labels), dtype=bool), trees)
    facts = {
        "figures": figures,
        "figures_before_calibration": evaluate(raw[-1], happened[-1], counts[-1]).as_dict(),
        "trees": trees,
        "data_sha256": data.sha256(),
        "ordinary": Ordinary.learned_from(table, encoder, data.matrix).as_dict(),
        "checked": checked(table.filter(pa.array(splits[-1].check)), before(raw[-1])),
    }
    return Trained(encoder, booster.model_to_string(), last), facts


def _demand_enough(labels: Numbers, purpose: str) -> None:
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


def _sized(data: Data, split: Split) -> tuple[Numbers, int]:
    """Return predictions for the rows to check on, and the number of trees that serves them."""
    fitted_on = data.of(split.fit)
    parts = (data.matrix, data.labels, data.weights)
    matrix, labels, weights = (part[split.check] for part in parts)
    booster = lightgbm.train(
        data.boosting,
        fitted_on,
        params().most_trees,
        valid_sets=[fitted_on.create_valid(matrix, labels, weight=weights)],
        callbacks=[lightgbm.early_stopping(params().early_stopping_rounds, verbose=False)],
    )
    trees = booster.best_iteration or params().most_trees
    return np.asarray(booster.predict(matrix, num_iteration=trees)), trees


def _predicted(data: Data, split: Split, trees: int) -> Numbers:
    return np.asarray(_boosted(data, split.fit, trees).predict(data.matrix[split.check]))


def _boosted(data: Data, rows: Rows, trees: int) -> lightgbm.Booster:
    return lightgbm.train(data.boosting, data.of(rows), trees)
