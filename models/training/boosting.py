"""One model from some rows: a margin without lenders, their effects beyond it, then boosted trees.

1. A small model of all that is no history of a lender gives each row its *margin*, in log-odds.
2. The effects of lenders are what the decisions show beyond the margin (models/features/lender_effects.py).
3. Members, which differ by lot and build, learn from all columns and the effects; their mean is one
   LightGBM model, so contributions are exact and a score is a function of the row alone. Each is
   boosted in stages: curves of one column first, where rows are few, or deep trees at once
   (docs/decisions/curves-before-trees.md).

A training row is told the effects that the rows of the other folds show, beyond a margin that they
gave as well: nothing of its own label is in what it is told.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import lightgbm
import numpy as np
import pyarrow as pa

from models.features import lender_effects as effects
from models.features.encoder import Encoder, of_a_new_lender
from models.features.lender_effects import Cells, Effects
from models.params import Features, params
from models.scoring.calibration import Calibration
from models.scoring.estimators import Trained
from models.training import ensemble_merge as trees
from models.validation.splits import remembered, weights_of
from pipelines.core.arrays import BoolArray, FloatArray

SURELY = 2.0
"""Standard errors by which a shape has to be better than a plainer one."""


@dataclass(frozen=True)
class Examples:
    """Labelled rows as an encoder that knows no effects yet sees them."""

    table: pa.Table
    labels: FloatArray
    weights: FloatArray
    """How much each row counts to learn from."""
    encoder: Encoder
    matrix: FloatArray

    @classmethod
    def of(cls, table: pa.Table, features: Features, *, forgets: bool = True) -> "Examples":
        """Return the rows of `table`, labelled by its column `label`.

        Args:
            table: As `dataset.examples` returns it.
            features: What is looked at.
            forgets: Whether older rows count less (`splits.remembered`).
        """
        labels = np.asarray(table["label"].to_numpy(), dtype=np.float64)
        encoder = Encoder.learned_from(table, features, least_rows=params().min_rows_of_a_category)
        weights = weights_of(table) * (remembered(table) if forgets else 1.0)
        return cls(table, labels, weights, encoder, encoder.matrix(table))

    def sha256(self) -> str:
        """Return a hash of all that a model could learn from."""
        parts = [self.matrix, self.labels, self.weights, *self.cells.codes]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    @cached_property
    def cells(self) -> Cells:
        """The cells of the lenders' effects."""
        return Cells.of(self.table, self.encoder.effects.words, self.encoder.effects.levels)

    @cached_property
    def of_strangers(self) -> FloatArray:
        """The rows as they would be seen if each one's lender were new."""
        return self.encoder.matrix(of_a_new_lender(self.table))

    @cached_property
    def without_lenders(self) -> FloatArray:
        """The rows with nothing known but what the margin is made of."""
        kept = set(params().features_in(params().effects.margin_reads).names)
        others = [i for i, name in enumerate(self.encoder.features.names) if name not in kept]
        blank = self.matrix.copy()
        blank[:, others] = np.nan
        return blank

    def folds(self, member: int) -> np.ndarray[Any, Any]:
        """Return the fold of each row, by a member's lot."""
        return _lot(member, "folds").integers(0, params().effects.folds, len(self.labels))


@dataclass(frozen=True)
class Lesson:
    """What is learned from: some rows, with the effects that the others of them show."""

    examples: Examples
    rows: BoolArray
    matrix: FloatArray
    """All rows of the examples. Each of `rows` is told what those in the first member's other folds
    show, every other row what all of `rows` do."""
    effects: Effects
    """What all of `rows` show."""

    @classmethod
    def of(cls, examples: Examples, rows: BoolArray) -> "Lesson":
        """Return what there is to learn from `rows` of the examples."""
        if not examples.encoder.effect_names:
            return cls(examples, rows, examples.matrix, examples.encoder.effects)
        learned = _effects(examples, rows)
        matrix = examples.matrix.copy()
        matrix[np.ix_(~rows, _columns(examples))] = _said(examples, learned, ~rows)
        _tell_across_folds(examples, rows, matrix, member=0)
        return cls(examples, rows, matrix, learned)

    def of_member(self, number: int) -> FloatArray:
        """Return the rows as a member learns from them: folds, and some strangers, by its lot."""
        examples, rows = self.examples, self.rows
        if not examples.encoder.effect_names:
            return self.matrix
        matrix = self.matrix.copy()
        if number:
            _tell_across_folds(examples, rows, matrix, member=number)
        lot = _lot(number, "strangers").uniform(size=len(rows))
        new = rows & (lot < params().effects.strangers)
        matrix[new] = examples.of_strangers[new]
        return matrix


@dataclass(frozen=True)
class Size:
    """How a member is boosted: which shape of the parameters, and how many trees of each stage."""

    shape: str
    trees: tuple[int, ...]

    @property
    def total(self) -> int:
        """The trees of all members and stages."""
        return sum(self.trees) * len(params().shapes[self.shape].members)

    def grown(self, times: float) -> "Size":
        """Return the size for so many times the rows: stages that grow have as many times trees."""
        stages = zip(params().shapes[self.shape].stages, self.trees, strict=True)
        return replace(
            self,
            trees=tuple(
                max(1, round(trees * times)) if stage.grows else trees for stage, trees in stages
            ),
        )


def size(lesson: Lesson, check: BoolArray) -> Size:
    """Return the shape and size that serve best the rows to `check`, by log loss.

    Shapes are ordered from the plainest on. Another one has to be better beyond chance, since rows
    that were shown tell little of those that were not: the rule of one standard error (Breiman,
    Friedman, Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3) with
    `SURELY` of them.
    """
    chosen, least = _stopped_early(lesson, check, next(iter(params().shapes)))
    for shape in list(params().shapes)[1:]:
        found, losses = _stopped_early(lesson, check, shape)
        gained = least - losses
        if gained.mean() > SURELY * gained.std() / np.sqrt(gained.size):
            chosen, least = found, losses
    return chosen


def learn(lesson: Lesson, size: Size) -> Trained:
    """Return a model, not calibrated yet, whose members have this size each."""
    members = [_member(lesson, size, at) for at in range(len(params().shapes[size.shape].members))]
    encoder = replace(lesson.examples.encoder, effects=lesson.effects)
    return Trained(encoder, trees.mean(members), Calibration())


def _stopped_early(lesson: Lesson, check: BoolArray, shape: str) -> tuple[Size, FloatArray]:
    """Return the trees of each stage from which on more did not help, and each row's loss then."""
    text, counts = "", list[int]()
    for stage in params().shapes[shape].stages:
        fitted_on = _dataset(lesson.examples, lesson.matrix, lesson.rows)
        found = lightgbm.train(
            _boosting(lesson.examples) | stage.boosting,
            fitted_on,
            stage.most_trees,
            valid_sets=[_dataset(lesson.examples, lesson.matrix, check, fitted_on)],
            init_model=_booster(text),
            callbacks=[lightgbm.early_stopping(params().early_stopping_rounds, verbose=False)],
        )
        best = found.best_iteration or found.current_iteration()
        counts.append(best - sum(counts))
        text = found.model_to_string(num_iteration=best)
    odds = Trained(lesson.examples.encoder, text, Calibration()).log_odds(
        lesson.matrix[check], threads=1
    )
    happened, weights = lesson.examples.labels[check], lesson.examples.weights[check]
    losses = np.logaddexp(0, np.where(happened > 0, -odds, odds)) * weights
    return Size(shape, tuple(counts)), losses


def _tell_across_folds(
    examples: Examples, rows: BoolArray, matrix: FloatArray, *, member: int
) -> None:
    """Tell in `matrix` each of `rows` the effects that those in the member's other folds show."""
    folds, columns = examples.folds(member), _columns(examples)
    for fold in range(params().effects.folds):
        asked = rows & (folds == fold)
        matrix[np.ix_(asked, columns)] = _said(examples, _effects(examples, rows & ~asked), asked)


def _columns(examples: Examples) -> np.ndarray[Any, Any]:
    """Return where the effects of lenders stand in a matrix."""
    return np.array(examples.encoder.indexes(examples.encoder.effect_names))


def _effects(examples: Examples, rows: BoolArray) -> Effects:
    """Return the effects that `rows` show beyond the margin that they give."""
    seen = examples.without_lenders
    booster = lightgbm.train(
        _boosting(examples) | params().effects.margin,
        _dataset(examples, seen, rows),
        params().effects.margin_trees,
    )
    margin = np.asarray(booster.predict(seen[rows], raw_score=True))
    words = examples.encoder.effects.words
    return effects.learn(examples.cells.of_rows(rows), words, margin, examples.labels[rows])


def _said(examples: Examples, learned: Effects, rows: BoolArray) -> FloatArray:
    """Return what effects say of some rows, in the order of the encoder's features."""
    places = [learned.names.index(name) for name in examples.encoder.effect_names]
    return learned.of(examples.cells.of_rows(rows))[:, places]


def _member(lesson: Lesson, size: Size, number: int) -> str:
    """Return the trees of one member."""
    examples, rows, matrix = lesson.examples, lesson.rows, lesson.of_member(number)
    shape, text = params().shapes[size.shape], ""
    own = shape.members[number] | {"seed": params().boosting["seed"] + number}
    for stage, trees_of_stage in zip(shape.stages, size.trees, strict=True):
        booster = lightgbm.train(
            _boosting(examples) | stage.boosting | own,
            _dataset(examples, matrix, rows),
            trees_of_stage,
            init_model=_booster(text),
        )
        text = booster.model_to_string()
    return text


def _booster(text: str) -> lightgbm.Booster | None:
    """Return the model that a stage starts from; None: from nothing."""
    return lightgbm.Booster(model_str=text) if text else None


def _dataset(
    examples: Examples, matrix: FloatArray, rows: BoolArray, like: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    return lightgbm.Dataset(
        matrix[rows],
        examples.labels[rows],
        weight=examples.weights[rows],
        reference=like,
        categorical_feature=examples.encoder.categorical_indexes,
        params=_boosting(examples),
    )


def _boosting(examples: Examples) -> dict[str, Any]:
    return params().boosting | {"verbosity": -1} | examples.encoder.features.told


def _lot(member: int, purpose: Literal["folds", "strangers"]) -> np.random.Generator:
    drawn_for = ("folds", "strangers").index(purpose)
    return np.random.default_rng([params().boosting["seed"], member, drawn_for])
