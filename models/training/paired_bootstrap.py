"""The paired bootstrap: the metrics of two models on the same outcomes, and their difference.

Whole leads are drawn with replacement, because the rows of one lead are correlated, and both models
are measured on the same draw, so that difficulty that both share cancels out (B. Efron and R.
Tibshirani, An Introduction to the Bootstrap, 1993). The number of draws of a lead is a Poisson
variable of mean 1, which approximates the multinomial well for hundreds of leads and needs no loop.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from models.features.columns import to_floats
from models.params import Label, params
from models.training.loan_maturity import Exposure
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import auc_of_counts, clip_probability

METRICS = ("auc", "log_loss", "ece", "value")
LOWER_IS_BETTER = frozenset({"log_loss", "ece"})
BINS = 10
DRAWS_AT_ONCE = 50
"""Draws that are held in memory together."""
ADVERSE_LABELS = frozenset({"defaulted", "charged_off"})
DIGITS = 6
FULL_EXPOSURE = Exposure(np.zeros(1), np.ones(1))
"""Of outcomes whose horizon is complete."""


@dataclass(frozen=True)
class ModelOutcomes:
    """Rows with an outcome that neither model was trained on."""

    labels: FloatArray
    """0 or 1; in between, the probability given what is known."""
    lead: IntArray
    """The number of each row's lead, from 0."""
    amount: FloatArray
    """The requested amount of each row, in one currency."""
    ranks_by_value: bool = True
    """True if rows are ranked by probability times `amount`, or, for an adverse label, by the
    probability."""
    exposure: Exposure = FULL_EXPOSURE
    """The part of the horizon that was observed."""
    weights: FloatArray | None = None
    """Weight of each row; None: 1."""

    @classmethod
    def from_examples(
        cls,
        rows: pa.Table,
        label: Label,
        *,
        exposure: Exposure = FULL_EXPOSURE,
        weights: FloatArray | None = None,
    ) -> "ModelOutcomes":
        """Return the outcomes of examples of `label`, from their column `label`."""
        ranks_by_value = label not in ADVERSE_LABELS
        leads, amounts = encode_leads(rows), _read_amounts(rows)
        return cls(to_floats(rows, "label"), leads, amounts, ranks_by_value, exposure, weights)

    @property
    def weight_row(self) -> FloatArray:
        """The weight of each row, shape (1, rows)."""
        weights = np.ones(len(self.labels)) if self.weights is None else self.weights
        return weights[None, :]


@dataclass(frozen=True)
class Difference:
    """One metric of both models, and challenger minus champion with its 95% interval."""

    champion: float
    challenger: float
    difference: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return asdict(self)


def compare(
    outcomes: ModelOutcomes, champion: FloatArray, challenger: FloatArray
) -> dict[str, Difference]:
    """Return the metrics of probabilities `champion` and `challenger` on the same `outcomes`.

    Returns:
        `auc`, `log_loss`, `ece` (10 bins of equal count), `value` (share of the positive amount
        within the quarter of rows that the model ranks highest) and `bias` (predicted less observed
        rate). If only a part of the horizon was observed, `log_loss`, `ece` and `bias` use the
        probability for that part; `auc` and `value` rank by the probabilities as they are.

    Raises:
        ValueError: There is only one class.
    """
    if not 0 < outcomes.labels.sum() < len(outcomes.labels):
        raise ValueError("a comparison needs rows of both classes")
    is_same = np.array_equal(champion, challenger)
    sides = [_ModelSide(outcomes, predicted) for predicted in (champion, challenger)]
    weights = outcomes.weight_row
    estimates = [side.measure(weights) for side in sides]
    draws = [weights] if is_same else _draw_weights(outcomes)
    drawn = [[side.measure(draw) for side in sides] for draw in draws]
    return {
        name: _difference(
            float(estimates[0][name][0]),
            float(estimates[1][name][0]),
            np.concatenate([second[name] - first[name] for first, second in drawn]),
        )
        for name in (*METRICS, "bias")
    }


def _difference(champion: float, challenger: float, drawn: FloatArray) -> Difference:
    low, high = np.quantile(drawn, [0.025, 0.975])
    values = (champion, challenger, challenger - champion, float(low), float(high))
    return Difference(*(round(value, DIGITS) for value in values))


def _draw_weights(outcomes: ModelOutcomes) -> Iterator[FloatArray]:
    """Yield the draws in portions; the same rows always give the same draws."""
    random = np.random.default_rng(params().boosting["seed"])
    leads = int(outcomes.lead.max()) + 1
    for _ in range(0, params().challenge.bootstrap_draws, DRAWS_AT_ONCE):
        drawn = random.poisson(1.0, (DRAWS_AT_ONCE, leads)).astype(np.float64)
        yield drawn[:, outcomes.lead] * outcomes.weight_row


class _ModelSide:
    """One model's probabilities, sorted once for all draws."""

    def __init__(self, outcomes: ModelOutcomes, predicted: FloatArray):
        probability = outcomes.exposure.window_probability(predicted)
        labels, clipped = outcomes.labels, clip_probability(probability)
        self._labels = labels
        self._loss = -(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))
        self._errors = probability - labels
        self._order = np.argsort(predicted, kind="stable")
        ordered = predicted[self._order]
        self._distinct = np.flatnonzero(np.diff(ordered, prepend=-1.0))
        self._bins = np.unique(np.arange(BINS) * len(predicted) // BINS)
        rank_by = predicted * outcomes.amount if outcomes.ranks_by_value else predicted
        self._selected = np.argsort(-rank_by, kind="stable")[: max(1, len(rank_by) // 4)]
        self._positive_amount = labels * outcomes.amount

    def measure(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return each metric for each draw; `weights` has the shape (draws, rows)."""
        rows = weights.sum(axis=1)
        errors = weights * self._errors
        by_bin = np.add.reduceat(errors[:, self._order], self._bins, axis=1)
        amount = weights * self._positive_amount
        return {
            "auc": self._auc(weights),
            "log_loss": (weights * self._loss).sum(axis=1) / rows,
            "ece": np.abs(by_bin).sum(axis=1) / rows,
            "value": amount[:, self._selected].sum(axis=1) / amount.sum(axis=1),
            "bias": errors.sum(axis=1) / rows,
        }

    def _auc(self, weights: FloatArray) -> FloatArray:
        positive = weights * self._labels
        positives, total = (
            np.add.reduceat(part[:, self._order], self._distinct, axis=1)
            for part in (positive, weights)
        )
        return auc_of_counts(positives, total - positives)


def encode_leads(table: pa.Table) -> IntArray:
    """Return the number of each row's lead, from 0."""
    names = pc.binary_join_element_wise(table["channel_id"], table["lead_id"], "/")
    codes = pc.dictionary_encode(names.combine_chunks()).indices
    return np.asarray(codes.to_numpy(), np.int64)


def _read_amounts(table: pa.Table) -> FloatArray:
    """Return the requested amount in the base currency; 1 if it is unknown."""
    amounts = np.nan_to_num(to_floats(table, "amount"), nan=1.0)
    rates = policy.currencies(pc.max(table["business_date"]).as_py())
    encoded = pc.dictionary_encode(pc.fill_null(table["currency"].combine_chunks(), ""))
    rate_of = np.array([rates.get(name, 1.0) for name in encoded.dictionary.to_pylist()])
    return np.asarray(amounts * rate_of[encoded.indices.to_numpy(zero_copy_only=False)])
