"""Two models on the same outcomes: what each shows, and how far chance may explain the difference.

A paired bootstrap: whole leads are drawn with replacement, since rows of one lead resemble each
other, and both models are measured on the same draw, so that what is hard for both cancels out
(B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993). How often a lead is drawn is
a Poisson variable of mean 1, which is as good for hundreds of leads and needs no loop.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from models.features.encoder import numbers
from models.params import Label, params
from models.training.loan_maturity import Exposure
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import auc_of_counts, clip_probability

FIGURES = ("auc", "log_loss", "ece", "value")
LOWER_IS_BETTER = frozenset({"log_loss", "ece"})
BINS = 10
AT_ONCE = 50
"""Draws that are held at once."""
FEARED = frozenset({"defaulted", "charged_off"})
"""Labels of what nobody wants."""
EDGE = 1e-6
DIGITS = 6
KNOWN_WHOLE = Exposure(np.zeros(1), np.ones(1))
"""Of outcomes that are as well known as they ever will be."""


@dataclass(frozen=True)
class Outcomes:
    """Rows of which the outcome is known to neither model."""

    happened: FloatArray
    """0 or 1; between them, how likely it is by what is known."""
    lead: IntArray
    """Of each row, the number of its lead, from 0."""
    worth: FloatArray
    """What the row is about, in money of one currency."""
    shows_likely: bool = True
    """Whether a row is worth its chance times `worth`; else the chance alone is what is feared."""
    exposure: Exposure = KNOWN_WHOLE
    """How much of what the probabilities are about could have happened by now."""
    counts: FloatArray | None = None
    """As how many each row counts; None: as one."""

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        label: Label,
        *,
        exposure: Exposure = KNOWN_WHOLE,
        counts: FloatArray | None = None,
    ) -> "Outcomes":
        """Return what happened to examples of `label`; their column `label` says it."""
        likes = label not in FEARED
        return cls(numbers(rows, "label"), _leads(rows), _worth(rows), likes, exposure, counts)

    @property
    def once(self) -> FloatArray:
        """Each row as often as it counts, shape (1, rows)."""
        counts = np.ones(len(self.happened)) if self.counts is None else self.counts
        return counts[None, :]


@dataclass(frozen=True)
class Difference:
    """One figure of both models, and challenger minus champion with its 95% interval."""

    champion: float
    challenger: float
    difference: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def compare(
    outcomes: Outcomes, champion: FloatArray, challenger: FloatArray
) -> dict[str, Difference]:
    """Return what probabilities `champion` and `challenger` are worth on the same `outcomes`.

    Returns:
        `auc` (order), `log_loss` (order and size), `ece` (mean distance of predicted and observed
        over 10 bins of equal count), `value` (of all that happened, by worth, the share within the
        quarter that the model would choose) and `bias` (predicted less observed rate). Where only a
        part could have happened by now, that part is what counts as predicted; order is that of
        the probabilities as they are, which is how they are used.

    Raises:
        ValueError: Only one class happened.
    """
    if not 0 < outcomes.happened.sum() < len(outcomes.happened):
        raise ValueError("a comparison needs rows of both classes")
    is_same = np.array_equal(champion, challenger)
    sides = [_Side(outcomes, predicted) for predicted in (champion, challenger)]
    once = outcomes.once
    stands = [side.figures(once) for side in sides]
    draws = [once] if is_same else _draws(outcomes)
    drawn = [[side.figures(weights) for side in sides] for weights in draws]
    return {
        name: _difference(
            float(stands[0][name][0]),
            float(stands[1][name][0]),
            np.concatenate([draw[1][name] - draw[0][name] for draw in drawn]),
        )
        for name in (*FIGURES, "bias")
    }


def _difference(champion: float, challenger: float, drawn: FloatArray) -> Difference:
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = (champion, challenger, challenger - champion, float(low), float(high))
    return Difference(*(round(figure, DIGITS) for figure in found))


def _draws(outcomes: Outcomes) -> Iterator[FloatArray]:
    """Yield the draws in portions; the same rows always give the same draws."""
    chance = np.random.default_rng(params().boosting["seed"])
    leads = int(outcomes.lead.max()) + 1
    for _ in range(0, params().challenge.draws, AT_ONCE):
        drawn = chance.poisson(1.0, (AT_ONCE, leads)).astype(np.float64)
        yield drawn[:, outcomes.lead] * outcomes.once


class _Side:
    """One model's probabilities, ordered once for all draws."""

    def __init__(self, outcomes: Outcomes, predicted: FloatArray):
        chance, happened = outcomes.exposure.chance(predicted), outcomes.happened
        inside = clip_probability(chance)
        self._happened = happened
        self._loss = -(happened * np.log(inside) + (1 - happened) * np.log1p(-inside))
        self._off = chance - happened
        self._order = np.argsort(predicted, kind="stable")
        ordered = predicted[self._order]
        self._firsts = np.flatnonzero(np.diff(ordered, prepend=-1.0))
        self._bins = np.unique(np.arange(BINS) * len(predicted) // BINS)
        by = predicted * outcomes.worth if outcomes.shows_likely else predicted
        self._chosen = np.argsort(-by, kind="stable")[: max(1, len(by) // 4)]
        self._brought = happened * outcomes.worth

    def figures(self, weights: FloatArray) -> dict[str, FloatArray]:
        """Return each figure for each draw."""
        rows = weights.sum(axis=1)
        off = weights * self._off
        by_bin = np.add.reduceat(off[:, self._order], self._bins, axis=1)
        brought = weights * self._brought
        return {
            "auc": self._areas(weights),
            "log_loss": (weights * self._loss).sum(axis=1) / rows,
            "ece": np.abs(by_bin).sum(axis=1) / rows,
            "value": brought[:, self._chosen].sum(axis=1) / brought.sum(axis=1),
            "bias": off.sum(axis=1) / rows,
        }

    def _areas(self, weights: FloatArray) -> FloatArray:
        """Return the area under the ROC curve; equal probabilities count as half in order."""
        yes = weights * self._happened
        yes_at, all_at = (
            np.add.reduceat(part[:, self._order], self._firsts, axis=1) for part in (yes, weights)
        )
        return auc_of_counts(yes_at, all_at - yes_at)


def _leads(table: pa.Table) -> IntArray:
    named = pc.binary_join_element_wise(table["channel_id"], table["lead_id"], "/")
    codes = pc.dictionary_encode(named.combine_chunks()).indices
    return np.asarray(codes.to_numpy(), np.int64)


def _worth(table: pa.Table) -> FloatArray:
    """Return the amount asked for, in the base currency; 1 where it is not known."""
    amounts = np.nan_to_num(numbers(table, "amount"), nan=1.0)
    rates = policy.currencies(pc.max(table["business_date"]).as_py())
    coded = pc.dictionary_encode(table["currency"].combine_chunks())
    rate_of = np.array([rates.get(name, 1.0) for name in coded.dictionary.to_pylist()])
    return np.asarray(amounts * rate_of[coded.indices.to_numpy(zero_copy_only=False)])
