"""What gives a probability: a trained model with its calibration, or a stated prior."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.policy_types import Segment
from models.features.encoder import Encoder, numbers
from models.features.lender_effects import Effects
from models.params import Features
from models.scoring.calibration import Calibration
from models.scoring.contributions import Paths, contributions, read_paths
from models.scoring.predictor import predictor
from pipelines.core.arrays import FloatArray
from pipelines.core.statistics import logit, sigmoid


class Estimator(Protocol):
    """A probability for each row of a table, and what it rests on."""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it looks at."""

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return the probability of each row; it depends on that row alone."""

    def contributions(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return what each feature added to each row's log-odds, shape (rows, features)."""

    def as_dict(self) -> dict[str, Any]:
        """Return what the registry keeps of it as JSON."""


@dataclass(frozen=True)
class Trained:
    """Boosted trees with the encoder they were trained with and their calibration."""

    encoder: Encoder
    trees: str
    """LightGBM's own text of the model."""
    calibration: Calibration

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of the matrix, in order."""
        return self.encoder.features.names

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.trees)

    @cached_property
    def _paths(self) -> list[Paths]:
        return read_paths(self.trees)

    @cached_property
    def _probabilities(self) -> Callable[[FloatArray], FloatArray]:
        return predictor(self.trees)

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return calibrated probabilities: `calibration` of `raw`."""
        return self.calibration(self.raw(table, threads=threads))

    def raw(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002  one is enough
        """Return the trees' own probabilities, the logistic function of their sum."""
        matrix = self.encoder.matrix(table)
        if not len(matrix):
            return np.empty(0)
        return self._probabilities(matrix)

    def log_odds(self, matrix: FloatArray, *, threads: int) -> FloatArray:
        """Return what the trees say of rows of the encoder's matrix, before calibration."""
        if not len(matrix):
            return np.empty(0)
        return np.asarray(self._booster.predict(matrix, num_threads=threads, raw_score=True))

    def calibrated(self, log_odds: FloatArray) -> FloatArray:
        """Return the calibrated probability of what the trees say."""
        return self.calibration(sigmoid(log_odds))

    def contributions(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002  one
        """Return exact Shapley values of the trees (Lundberg et al. 2018), before calibration."""
        return contributions(self._paths, self.encoder.matrix(table))

    def as_dict(self) -> dict[str, Any]:
        """Return all but the trees as plain figures, for the registry."""
        return {
            "source": "model",
            "features": self.encoder.features.model_dump(mode="json"),
            "vocabulary": {name: list(words) for name, words in self.encoder.vocabulary.items()},
            "effects": self.encoder.effects.as_dict(),
            "calibration": self.calibration.as_dict(),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], trees: str) -> "Trained":
        """Return what `as_dict` described, with its trees."""
        vocabulary = {name: tuple(words) for name, words in content["vocabulary"].items()}
        features = Features.model_validate(content["features"])
        encoder = Encoder(features, vocabulary, Effects.from_dict(content["effects"]))
        return cls(encoder, trees, Calibration(**content["calibration"]))


@dataclass(frozen=True)
class Prior:
    """What is assumed while too little is known: by segment and band of risk."""

    model: str
    reason: str
    """Why no model was trained."""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that decide the band, the one that counts most last."""
        bands = {"risk": ("bureau_score",), "approval": ("pd_max",), "take_up": ()}
        return ("segment", *bands[self.model])

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002  a look-up
        """Return the assumed probability of each row's band."""
        segments = pc.cast(table["segment"], pa.string())
        assumed = np.full(table.num_rows, np.nan)
        for segment in policy.priors().approve:
            rows = pc.equal(segments, segment).to_numpy()
            assumed[rows] = self._of_segment(segment, table)[rows]
        return assumed

    def contributions(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return how far each row's log-odds lie from even; the band decides them as a whole."""
        odds = self.predict(table, threads=threads)
        filled = np.zeros((table.num_rows, len(self.features)))
        filled[:, -1] = logit(odds)
        return filled

    def as_dict(self) -> dict[str, Any]:
        """Return that it is a prior, and why, for the registry."""
        return {"source": "prior", "reason": self.reason}

    def _of_segment(self, segment: Segment, table: pa.Table) -> FloatArray:
        priors = policy.priors()
        if self.model == "take_up":
            return np.full(table.num_rows, priors.take_up[segment])
        if self.model == "approval":
            approve = priors.approve[segment]
            odds = _headroom(table) * approve / (1 - approve)
            return odds / (1 + odds)
        bands = [band for band in priors.pd if band.segment == segment]
        unscored = next(band.pd for band in bands if band.score_from is None)
        scored = sorted((b.score_from, b.pd) for b in bands if b.score_from is not None)
        starts = np.array([start for start, _ in scored])
        rates = np.array([unscored, *(rate for _, rate in scored)])
        scores = numbers(table, "bureau_score")
        position = np.searchsorted(starts, scores, side="right")
        return np.where(np.isnan(scores), unscored, rates[position])


def _headroom(table: pa.Table) -> FloatArray:
    """Return what the distance of each pd from its product's limit makes of the odds."""
    bands = policy.priors().headroom
    starts = np.array([band.share_from for band in bands])
    times = np.array([band.times for band in bands])
    pd, limit = numbers(table, "pd"), numbers(table, "pd_max")
    beyond = np.where(np.isnan(pd), np.nan, np.inf)  # any risk, where none is wanted
    taken = np.divide(pd, limit, out=beyond, where=limit != 0)
    position = np.maximum(np.searchsorted(starts, taken, side="right") - 1, 0)
    return np.where(np.isnan(taken), 1.0, times[position])
