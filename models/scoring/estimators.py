"""The estimators of a probability: a trained model with its calibration, or a stated prior."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from expectations.policy_types import Segment
from models.features.columns import to_floats
from models.features.encoder import Encoder
from models.features.lender_effects import LenderEffects
from models.params import Features
from models.scoring.calibration import Calibration
from models.scoring.contributions import ContributionTables
from models.scoring.substitution import FeatureGroups
from models.scoring.tree_predictor import Predictor, TreePredictor, make_predictor
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import logit, sigmoid


class Estimator(Protocol):
    """An estimator of a probability for each row of a table."""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that it reads."""

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return the probability of each row; it depends on that row only."""

    def contributions(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return each feature's contribution to each row's log-odds, shape (rows, features)."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON description for the registry."""


@dataclass(frozen=True)
class TrainedModel:
    """Boosted trees with the encoder they were trained with and their calibration."""

    encoder: Encoder
    trees: str
    """The model in LightGBM's text format."""
    calibration: Calibration

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of the matrix, in order."""
        return self.encoder.features.names

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.trees)

    @cached_property
    def _contributions(self) -> ContributionTables:
        return ContributionTables.from_text(self.trees)

    @cached_property
    def _tree_predictor(self) -> TreePredictor:
        return TreePredictor.from_text(self.trees)

    @cached_property
    def _predictor(self) -> Predictor:
        return make_predictor(self.trees)

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return calibrated probabilities: `calibration` of `predict_raw`."""
        return self.calibration(self.predict_raw(table, threads=threads))

    def predict_raw(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002  one is enough
        """Return the trees' probabilities before calibration."""
        matrix = self.encoder.encode(table)
        if not len(matrix):
            return np.empty(0)
        return self._predictor.predict(matrix)

    def predict_log_odds(self, matrix: FloatArray, *, threads: int) -> FloatArray:
        """Return the trees' log-odds for rows of the encoder's matrix, before calibration."""
        if not len(matrix):
            return np.empty(0)
        return np.asarray(self._booster.predict(matrix, num_threads=threads, raw_score=True))

    def group_features(self, group_of_feature: IntArray) -> FeatureGroups:
        """Return the log-odds by group of features, for rows with a group at other values.

        They differ from `predict_log_odds` in about the last bit.

        Args:
            group_of_feature: The group of each feature.
        """
        return FeatureGroups(self._tree_predictor, group_of_feature)

    def calibrate(self, log_odds: FloatArray) -> FloatArray:
        """Return the calibrated probability of the trees' log-odds."""
        return self.calibration(sigmoid(log_odds))

    def contributions(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002  one
        """Return exact Shapley values of the trees (Lundberg et al. 2018), before calibration."""
        return self.matrix_contributions(self.encoder.encode(table))

    def matrix_contributions(self, matrix: FloatArray) -> FloatArray:
        """Return `contributions` for rows of the encoder's matrix."""
        return self._contributions.compute(matrix)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the trees, for the registry."""
        categories = self.encoder.categories
        return {
            "source": "model",
            "features": self.encoder.features.model_dump(mode="json"),
            "categories": {name: list(values) for name, values in categories.items()},
            "lender_effects": self.encoder.effects.as_dict(),
            "calibration": self.calibration.as_dict(),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], trees: str) -> "TrainedModel":
        """Return the model that `as_dict` described, with its trees."""
        categories = {name: tuple(values) for name, values in content["categories"].items()}
        features = Features.model_validate(content["features"])
        effects = LenderEffects.from_dict(content["lender_effects"])
        encoder = Encoder(features, categories, effects)
        return cls(encoder, trees, Calibration(**content["calibration"]))


@dataclass(frozen=True)
class Prior:
    """The stated probability by segment and risk band, for a model with too few outcomes."""

    model: str
    reason: str
    """Why no model was trained."""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that define the band, the decisive one last."""
        bands = {"risk": ("bureau_score",), "approval": ("pd_max",), "take_up": ()}
        return ("segment", *bands[self.model])

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002  a look-up
        """Return the stated probability of each row's band."""
        segments = pc.cast(table["segment"], pa.string())
        probabilities = np.full(table.num_rows, np.nan)
        for segment in policy.priors().approve:
            rows = pc.equal(segments, segment).to_numpy()
            probabilities[rows] = self._predict_segment(segment, table)[rows]
        return probabilities

    def contributions(self, table: pa.Table, *, threads: int) -> FloatArray:
        """Return each row's log-odds as the contribution of the band's decisive column."""
        probabilities = self.predict(table, threads=threads)
        contributions = np.zeros((table.num_rows, len(self.features)))
        contributions[:, -1] = logit(probabilities)
        return contributions

    def as_dict(self) -> dict[str, Any]:
        """Return the source and the reason, for the registry."""
        return {"source": "prior", "reason": self.reason}

    def _predict_segment(self, segment: Segment, table: pa.Table) -> FloatArray:
        priors = policy.priors()
        if self.model == "take_up":
            return np.full(table.num_rows, priors.take_up[segment])
        if self.model == "approval":
            approve = priors.approve[segment]
            odds = _headroom_factor(table) * approve / (1 - approve)
            return odds / (1 + odds)
        bands = [band for band in priors.pd if band.segment == segment]
        unscored = next(band.pd for band in bands if band.score_from is None)
        scored = sorted((b.score_from, b.pd) for b in bands if b.score_from is not None)
        starts = np.array([start for start, _ in scored])
        rates = np.array([unscored, *(rate for _, rate in scored)])
        scores = to_floats(table, "bureau_score")
        position = np.searchsorted(starts, scores, side="right")
        return np.where(np.isnan(scores), unscored, rates[position])


def _headroom_factor(table: pa.Table) -> FloatArray:
    """Return the factor on the odds of approval, by `pd` over the product's limit."""
    bands = policy.priors().headroom
    starts = np.array([band.share_from for band in bands])
    factors = np.array([band.times for band in bands])
    pd, limit = to_floats(table, "pd"), to_floats(table, "pd_max")
    without_limit = np.where(np.isnan(pd), np.nan, np.inf)  # a limit of 0 is exceeded by any risk
    used = np.divide(pd, limit, out=without_limit, where=limit != 0)
    position = np.maximum(np.searchsorted(starts, used, side="right") - 1, 0)
    return np.where(np.isnan(used), 1.0, factors[position])
