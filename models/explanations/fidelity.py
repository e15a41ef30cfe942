"""Whether reasons tell the truth: change what a reason names, and see the score move that way.

A reason says that its code raises or lowers a probability. It holds where the score goes back once
the features of that code are changed. Into what is a choice, so two are measured, and for the first
also the feature alone that gives the reason its words:

- ordinary: the values that are ordinary for a lead of this kind (what reasons are confirmed by);
- others: those of other leads of this kind, drawn at random and averaged. No reason is chosen by
  it, so it is the figure that could fail.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from expectations import policy
from models.explanations.reason_text import TOGETHER
from models.explanations.reasons import Explainer
from models.explanations.reference_profile import Ordinary
from models.scoring.estimators import Trained
from pipelines.core.arrays import FloatArray

DRAWS = 20
"""Other leads whose values are tried for each reason."""

SAMPLE = 200
"""Rows whose reasons are tried when a model is trained."""

REASONS_AT_ONCE = 2_000
SEED = 20261124


@dataclass(frozen=True)
class Fidelity:
    """Shares of reasons that hold, of 1."""

    rows: int
    reasons: int
    ordinary: float
    """Of all: the score moves as stated once the code's features are ordinary."""
    word_alone: float
    """The same where only the feature that gives the words is made ordinary, of reasons whose words
    tell of a feature and not of the code as a whole."""
    others: float
    """The score moves as stated, on average over the values of other leads."""
    others_first: float
    """The same of first reasons alone."""

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)


def fidelity(explainer: Explainer, table: pa.Table) -> Fidelity:
    """Return how many of the reasons of `table`, for and against, hold when they are tried.

    Raises:
        ValueError: The explainer's model is a stated prior, or no reason is named.
    """
    model, ordinary = explainer.estimator, explainer.ordinary
    if not isinstance(model, Trained) or ordinary is None:
        raise ValueError("only a trained model's reasons can be tried")
    told = explainer.explain(table)
    if not told.num_rows:
        raise ValueError("no reason is named, so nothing was tried")
    tried = _Tried(model, ordinary, table, told, explainer.threads)
    ordinary_moves, alone = tried.towards_ordinary()
    others = tried.towards_others()
    first = told["place"].to_numpy() == 1
    return Fidelity(
        rows=table.num_rows,
        reasons=told.num_rows,
        ordinary=_share(ordinary_moves),
        word_alone=_share(alone[np.array(told["level"].to_pylist()) != TOGETHER]),
        others=_share(others),
        others_first=_share(others[first]),
    )


def of_a_sample(model: Trained, ordinary: Mapping[str, Any], table: pa.Table) -> dict[str, Any]:
    """Return the fidelity of the reasons of rows spread over `table`, for the registry.

    Args:
        model: What was trained.
        ordinary: What its leads are like, as `Ordinary.as_dict` says it.
        table: What it was trained on, one row at least.
    """
    rows = np.unique(np.linspace(0, table.num_rows - 1, SAMPLE).astype(np.int64))
    explainer = Explainer(model, Ordinary.from_dict(ordinary))
    return fidelity(explainer, table.take(pa.array(rows))).as_dict()


def _share(moves: FloatArray) -> float:
    return round(float(np.mean(moves > 0)), 4)


class _Tried:
    """The reasons of some rows with all that is needed to change what they name."""

    def __init__(
        self, model: Trained, ordinary: Ordinary, table: pa.Table, told: pa.Table, threads: int
    ):
        names = list(model.features)
        codes = np.array([policy.reason_codes()[name] for name in names])
        self._model, self._threads = model, threads
        self._matrix = model.encoder.matrix(table)
        self._kinds = ordinary.kinds(table)
        self._usual = ordinary.of(self._kinds)
        self._rows = told["row"].to_numpy()
        self._of_code = codes[None, :] == np.array(told["code"].to_pylist())[:, None]
        self._of_word = np.array(names)[None, :] == np.array(told["feature"].to_pylist())[:, None]
        self._sign = np.where(np.array(told["effect"].to_pylist()) == "raises", 1.0, -1.0)
        self._stands = self._log_odds(self._matrix)[self._rows]

    def towards_ordinary(self) -> tuple[FloatArray, FloatArray]:
        """Return how far each score goes back: of the code's features, and of its word's alone."""
        return self._back(self._of_code, self._usual), self._back(self._of_word, self._usual)

    def towards_others(self) -> FloatArray:
        """Return how far each score goes back on average over other leads of its kind."""
        random = np.random.default_rng(SEED)
        total = np.zeros(len(self._rows))
        for _ in range(DRAWS):
            total += self._back(self._of_code, self._matrix[self._drawn(random)])
        return total / DRAWS

    def _drawn(self, random: np.random.Generator) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        """Return for each row another of its kind."""
        drawn = np.arange(len(self._kinds))
        for kind in np.unique(self._kinds):
            here = np.flatnonzero(self._kinds == kind)
            drawn[here] = random.choice(here, len(here))
        return drawn

    def _back(
        self, which: "np.ndarray[tuple[int, int], np.dtype[np.bool_]]", to: FloatArray
    ) -> FloatArray:
        """Return how far each score goes back, in its reason's sense, with `which` set to `to`."""
        back = np.empty(len(self._rows))
        for at in range(0, len(self._rows), REASONS_AT_ONCE):
            part = slice(at, at + REASONS_AT_ONCE)
            rows = self._rows[part]
            changed = np.where(which[part], to[rows], self._matrix[rows])
            back[part] = self._sign[part] * (self._stands[part] - self._log_odds(changed))
        return back

    def _log_odds(self, matrix: FloatArray) -> FloatArray:
        return self._model.log_odds(matrix, threads=self._threads)
