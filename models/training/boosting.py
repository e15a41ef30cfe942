"""Boosting: a base margin without lenders, lender effects beyond it, then an ensemble of trees.

1. A small model of the features without lender history gives each row its *base margin*, in
   log-odds.
2. Lender effects are what the labels show beyond the base margin
   (models/features/lender_effects.py).
3. The members of an ensemble, which differ by seed and settings, are trained on all features with
   the lender effects. Their mean is one LightGBM model, so contributions are exact and a score is a
   function of the row only. Each member is boosted in stages: an additive stage first if rows are
   few, or deep trees only (docs/decisions/additive-stage-then-boosting.md).

Lender effects are cross-fitted: a training row gets the effects, beyond a base margin, of the other
folds only, so nothing of its own label is among its features.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import lightgbm
import numpy as np
import pyarrow as pa

from models.features.encoder import Encoder, mask_lender
from models.features.lender_effects import LenderEffects, LenderGroups, fit_lender_effects
from models.params import Features, params
from models.scoring.calibration import Calibration
from models.scoring.estimators import TrainedModel
from models.scoring.lightgbm_text import average_models
from models.validation.splits import recency_weights, row_weights
from pipelines.core.arrays import BoolArray, FloatArray, IntArray

MIN_STANDARD_ERRORS = 2.0
"""Standard errors by which an ensemble must be better than a simpler one."""


@dataclass(frozen=True)
class Examples:
    """Labelled rows, encoded without lender effects."""

    table: pa.Table
    labels: FloatArray
    weights: FloatArray
    """Training weights."""
    encoder: Encoder
    matrix: FloatArray

    @classmethod
    def encode(cls, table: pa.Table, features: Features, *, use_recency: bool = True) -> "Examples":
        """Return the rows of `table`, labelled by its column `label`.

        Args:
            table: As `dataset.load_examples` returns it.
            features: The features of the model.
            use_recency: True if older rows weigh less (`splits.recency_weights`).
        """
        labels = np.asarray(table["label"].to_numpy(), dtype=np.float64)
        encoder = Encoder.fit(table, features, min_rows=params().min_rows_of_a_category)
        weights = row_weights(table) * (recency_weights(table) if use_recency else 1.0)
        return cls(table, labels, weights, encoder, encoder.encode(table))

    def sha256(self) -> str:
        """Return a hash of everything that training reads."""
        parts = [self.matrix, self.labels, self.weights, *self.lender_groups.codes]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    @cached_property
    def lender_groups(self) -> LenderGroups:
        """The groups of the lender effects."""
        effects = self.encoder.effects
        return LenderGroups.from_table(self.table, effects.vocabularies, effects.levels)

    @cached_property
    def unseen_lender_matrix(self) -> FloatArray:
        """The rows as if each one's lender were unseen."""
        return self.encoder.encode(mask_lender(self.table))

    @cached_property
    def base_matrix(self) -> FloatArray:
        """The rows with every feature missing that the base margin does not use."""
        groups = params().lender_effects.base_feature_groups
        base = set(params().group_features(groups).names)
        others = [i for i, name in enumerate(self.encoder.features.names) if name not in base]
        matrix = self.matrix.copy()
        matrix[:, others] = np.nan
        return matrix

    def draw_folds(self, member: int) -> IntArray:
        """Return the fold of each row, by a member's random numbers."""
        folds = params().lender_effects.folds
        return _random(member, "folds").integers(0, folds, len(self.labels))


@dataclass(frozen=True)
class TrainingSet:
    """Rows to train on, with cross-fitted lender effects."""

    examples: Examples
    rows: BoolArray
    matrix: FloatArray
    """All rows of the examples: the effects of `rows` are from the other folds of the first member,
    the effects of every other row are `effects`."""
    effects: LenderEffects
    """Fitted on all `rows`."""

    @classmethod
    def prepare(cls, examples: Examples, rows: BoolArray) -> "TrainingSet":
        """Return the training set of some `rows` of the examples."""
        if not examples.encoder.effect_names:
            return cls(examples, rows, examples.matrix, examples.encoder.effects)
        effects = _fit_effects(examples, rows)
        matrix = examples.matrix.copy()
        matrix[np.ix_(~rows, _effect_columns(examples))] = _encode_effects(examples, effects, ~rows)
        _fill_cross_fitted(examples, rows, matrix, member=0)
        return cls(examples, rows, matrix, effects)

    def member_matrix(self, number: int) -> FloatArray:
        """Return the rows for a member: its own folds, and some lenders masked as unseen."""
        examples, rows = self.examples, self.rows
        if not examples.encoder.effect_names:
            return self.matrix
        matrix = self.matrix.copy()
        if number:
            _fill_cross_fitted(examples, rows, matrix, member=number)
        draws = _random(number, "unseen lenders").uniform(size=len(rows))
        is_masked = rows & (draws < params().lender_effects.unseen_lender_share)
        matrix[is_masked] = examples.unseen_lender_matrix[is_masked]
        return matrix


@dataclass(frozen=True)
class EnsembleSize:
    """The chosen ensemble of the parameters, and the number of trees of each stage of a member."""

    ensemble: str
    trees: tuple[int, ...]

    @property
    def total(self) -> int:
        """The trees of all members and stages."""
        return sum(self.trees) * len(params().ensembles[self.ensemble].members)

    def scale(self, factor: float) -> "EnsembleSize":
        """Return the size for `factor` times the rows: scaling stages have as many times trees."""
        stages = zip(params().ensembles[self.ensemble].stages, self.trees, strict=True)
        return replace(
            self,
            trees=tuple(
                max(1, round(trees * factor)) if stage.scales_with_rows else trees
                for stage, trees in stages
            ),
        )


def select_size(training_set: TrainingSet, validate: BoolArray) -> EnsembleSize:
    """Return the ensemble and size with the lowest log loss on the rows `validate`.

    Ensembles are ordered from the simplest on. A later one must be better beyond chance, because
    matched rows tell little about unmatched ones: the rule of one standard error (Breiman,
    Friedman, Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3) with
    `MIN_STANDARD_ERRORS` of them.
    """
    simplest, *others = params().ensembles
    selected, lowest = _stop_early(training_set, validate, simplest)
    for ensemble in others:
        size, losses = _stop_early(training_set, validate, ensemble)
        gain = lowest - losses
        if gain.mean() > MIN_STANDARD_ERRORS * gain.std() / np.sqrt(gain.size):
            selected, lowest = size, losses
    return selected


def train_ensemble(training_set: TrainingSet, size: EnsembleSize) -> TrainedModel:
    """Return an uncalibrated model whose members have this size each."""
    members = range(len(params().ensembles[size.ensemble].members))
    texts = [_train_member(training_set, size, number) for number in members]
    encoder = replace(training_set.examples.encoder, effects=training_set.effects)
    return TrainedModel(encoder, average_models(texts), Calibration())


def boost_margin(
    examples: Examples, rows: BoolArray, margin: FloatArray, trees: int, boosting: dict[str, Any]
) -> FloatArray:
    """Return what trees that are trained on `rows` add to the log-odds `margin`, for every row."""
    parameters = _boosting_params(examples) | {"boost_from_average": False} | boosting
    dataset = lightgbm.Dataset(
        examples.matrix[rows],
        examples.labels[rows],
        weight=examples.weights[rows],
        init_score=margin[rows],
        categorical_feature=examples.encoder.categorical_indexes,
        params=parameters,
    )
    booster = lightgbm.train(parameters, dataset, trees)
    return np.asarray(booster.predict(examples.matrix, raw_score=True, num_threads=1))


def _stop_early(
    training_set: TrainingSet, validate: BoolArray, ensemble: str
) -> tuple[EnsembleSize, FloatArray]:
    """Return the size at which more trees did not help, and the loss of each row there."""
    examples = training_set.examples
    text, counts = "", list[int]()
    for stage in params().ensembles[ensemble].stages:
        training_data = _make_dataset(examples, training_set.matrix, training_set.rows)
        booster = lightgbm.train(
            _boosting_params(examples) | stage.boosting,
            training_data,
            stage.max_trees,
            valid_sets=[_make_dataset(examples, training_set.matrix, validate, training_data)],
            init_model=_read_booster(text),
            callbacks=[lightgbm.early_stopping(params().early_stopping_rounds, verbose=False)],
        )
        best = booster.best_iteration or booster.current_iteration()
        counts.append(best - sum(counts))
        text = booster.model_to_string(num_iteration=best)
    model = TrainedModel(examples.encoder, text, Calibration())
    log_odds = model.predict_log_odds(training_set.matrix[validate], threads=1)
    labels, weights = examples.labels[validate], examples.weights[validate]
    losses = np.logaddexp(0, np.where(labels > 0, -log_odds, log_odds)) * weights
    return EnsembleSize(ensemble, tuple(counts)), losses


def _fill_cross_fitted(
    examples: Examples, rows: BoolArray, matrix: FloatArray, *, member: int
) -> None:
    """Fill into `matrix` the effects of `rows`, each fitted on the other folds of the member."""
    folds, columns = examples.draw_folds(member), _effect_columns(examples)
    for fold in range(params().lender_effects.folds):
        in_fold = rows & (folds == fold)
        effects = _fit_effects(examples, rows & ~in_fold)
        matrix[np.ix_(in_fold, columns)] = _encode_effects(examples, effects, in_fold)


def _effect_columns(examples: Examples) -> np.ndarray[Any, Any]:
    """Return the positions of the lender effects in a matrix."""
    return np.array(examples.encoder.indexes(examples.encoder.effect_names))


def _fit_effects(examples: Examples, rows: BoolArray) -> LenderEffects:
    """Return the lender effects of `rows` beyond the base margin that is fitted on them."""
    matrix = examples.base_matrix
    booster = lightgbm.train(
        _boosting_params(examples) | params().lender_effects.base_boosting,
        _make_dataset(examples, matrix, rows),
        params().lender_effects.base_trees,
    )
    base_margin = np.asarray(booster.predict(matrix[rows], raw_score=True))
    groups, vocabularies = examples.lender_groups, examples.encoder.effects.vocabularies
    return fit_lender_effects(groups.select(rows), vocabularies, base_margin, examples.labels[rows])


def _encode_effects(examples: Examples, effects: LenderEffects, rows: BoolArray) -> FloatArray:
    """Return the effects of some rows, in the order of the encoder's features."""
    levels = [effects.names.index(name) for name in examples.encoder.effect_names]
    return effects.encode_groups(examples.lender_groups.select(rows))[:, levels]


def _train_member(training_set: TrainingSet, size: EnsembleSize, number: int) -> str:
    """Return one member in LightGBM's text format."""
    examples, rows = training_set.examples, training_set.rows
    matrix = training_set.member_matrix(number)
    spec, text = params().ensembles[size.ensemble], ""
    own = spec.members[number] | {"seed": params().boosting["seed"] + number}
    for stage, trees in zip(spec.stages, size.trees, strict=True):
        booster = lightgbm.train(
            _boosting_params(examples) | stage.boosting | own,
            _make_dataset(examples, matrix, rows),
            trees,
            init_model=_read_booster(text),
        )
        text = booster.model_to_string()
    return text


def _read_booster(text: str) -> lightgbm.Booster | None:
    """Return the model that a stage continues; None for the first stage."""
    return lightgbm.Booster(model_str=text) if text else None


def _make_dataset(
    examples: Examples,
    matrix: FloatArray,
    rows: BoolArray,
    reference: lightgbm.Dataset | None = None,
) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        matrix[rows],
        examples.labels[rows],
        weight=examples.weights[rows],
        reference=reference,
        categorical_feature=examples.encoder.categorical_indexes,
        params=_boosting_params(examples),
    )


def _boosting_params(examples: Examples) -> dict[str, Any]:
    return params().boosting | {"verbosity": -1} | examples.encoder.features.lightgbm_kwargs


def _random(member: int, purpose: Literal["folds", "unseen lenders"]) -> np.random.Generator:
    stream = ("folds", "unseen lenders").index(purpose)
    return np.random.default_rng([params().boosting["seed"], member, stream])
