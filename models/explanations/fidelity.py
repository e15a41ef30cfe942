"""The fidelity of reasons: whether changing the features of a reason moves the score as stated.

A reason states that its code raises or lowers a probability. It is faithful if the score reverts
when the features of the code are changed. Two kinds of change are measured:

- reference: the features take the values of the reference profile, by which reasons are confirmed;
  also measured with only the feature that the reason's text names;
- peers: the features take the values of other leads of the peer group, drawn at random and
  averaged. No reason is selected by this measure, so it is the independent one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations import policy
from models.explanations.reason_text import TOGETHER
from models.explanations.reasons import Explainer
from models.explanations.reference_profile import ReferenceProfile
from models.scoring.estimators import TrainedModel
from pipelines.core.arrays import FloatArray

DRAWS = 20
"""Peers whose values are substituted for each reason."""

SAMPLE_ROWS = 200
"""Rows whose reasons are measured when a model is trained."""

BATCH_REASONS = 2_000
SEED = 20261124


@dataclass(frozen=True)
class Fidelity:
    """Shares of faithful reasons, as fractions."""

    rows: int
    reasons: int
    reference: float
    """Of all: the score moves as stated with the code's features at the reference profile."""
    reference_feature: float
    """The same with only the named feature changed, of reasons whose text names a feature and not
    the code as a whole."""
    peer_values: float
    """The score moves as stated, on average over the values of peers."""
    peer_values_first: float
    """The same, of the strongest reasons only."""

    def as_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)


def measure_fidelity(explainer: Explainer, table: pa.Table) -> Fidelity:
    """Return the fidelity of the reasons of `table`, for and against.

    Raises:
        ValueError: The explainer's model is a stated prior, or it gives no reason.
    """
    model, profile = explainer.estimator, explainer.profile
    if not isinstance(model, TrainedModel) or profile is None:
        raise ValueError("fidelity is measured for trained models only")
    reasons = explainer.explain(table)
    if not reasons.num_rows:
        raise ValueError("the model gives no reason for these rows, so nothing was measured")
    perturbed = _Perturbation(model, profile, table, reasons, explainer.threads)
    reference, reference_feature = perturbed.shifts_to_reference()
    peers = perturbed.mean_shifts_to_peers()
    is_first = reasons["strength_rank"].to_numpy() == 1
    names_feature = np.array(reasons["level"].to_pylist()) != TOGETHER
    return Fidelity(
        rows=table.num_rows,
        reasons=reasons.num_rows,
        reference=_share_positive(reference),
        reference_feature=_share_positive(reference_feature[names_feature]),
        peer_values=_share_positive(peers),
        peer_values_first=_share_positive(peers[is_first]),
    )


def measure_sample(
    model: TrainedModel, reference_profile: Mapping[str, Any], table: pa.Table
) -> dict[str, Any]:
    """Return the fidelity of the reasons of rows spread over `table`, for the registry.

    Args:
        model: The trained model.
        reference_profile: The output of `ReferenceProfile.as_dict`.
        table: The training rows, at least one.
    """
    rows = np.unique(np.linspace(0, table.num_rows - 1, SAMPLE_ROWS).astype(np.int64))
    explainer = Explainer(model, ReferenceProfile.from_dict(reference_profile))
    return measure_fidelity(explainer, table.take(pa.array(rows))).as_dict()


def _share_positive(shifts: FloatArray) -> float:
    return round(float(np.mean(shifts > 0)), 4)


class _Perturbation:
    """The reasons of some rows, with the inputs that are needed to change their features."""

    def __init__(
        self,
        model: TrainedModel,
        profile: ReferenceProfile,
        table: pa.Table,
        reasons: pa.Table,
        threads: int,
    ):
        names = np.array(model.features)
        codes = np.array([policy.reason_codes()[name] for name in model.features])
        self._model, self._threads = model, threads
        self._matrix = model.encoder.encode(table)
        self._groups = profile.peer_groups(table)
        self._reference = profile.reference_values(self._groups)
        self._rows = reasons["row"].to_numpy()
        self._in_code = codes[None, :] == np.array(reasons["code"].to_pylist())[:, None]
        self._is_named = names[None, :] == np.array(reasons["feature"].to_pylist())[:, None]
        self._sign = np.where(np.array(reasons["effect"].to_pylist()) == "raises", 1.0, -1.0)
        self._scores = self._log_odds(self._matrix)[self._rows]

    def shifts_to_reference(self) -> tuple[FloatArray, FloatArray]:
        """Return how far each score reverts with the code's features, and with the named one."""
        return (
            self._shifts(self._in_code, self._reference),
            self._shifts(self._is_named, self._reference),
        )

    def mean_shifts_to_peers(self) -> FloatArray:
        """Return how far each score reverts on average over draws of peers."""
        random = np.random.default_rng(SEED)
        total = np.zeros(len(self._rows))
        for _ in range(DRAWS):
            total += self._shifts(self._in_code, self._matrix[self._draw_peers(random)])
        return total / DRAWS

    def _draw_peers(self, random: np.random.Generator) -> NDArray[np.intp]:
        """Return a random row of the peer group of each row."""
        peers = np.arange(len(self._groups))
        for group in np.unique(self._groups):
            members = np.flatnonzero(self._groups == group)
            peers[members] = random.choice(members, len(members))
        return peers

    def _shifts(self, is_changed: NDArray[np.bool_], values: FloatArray) -> FloatArray:
        """Return how far each score reverts with the changed features set to `values`."""
        shifts = np.empty(len(self._rows))
        for start in range(0, len(self._rows), BATCH_REASONS):
            batch = slice(start, start + BATCH_REASONS)
            rows = self._rows[batch]
            changed = np.where(is_changed[batch], values[rows], self._matrix[rows])
            shifts[batch] = self._sign[batch] * (self._scores[batch] - self._log_odds(changed))
        return shifts

    def _log_odds(self, matrix: FloatArray) -> FloatArray:
        return self._model.predict_log_odds(matrix, threads=self._threads)
