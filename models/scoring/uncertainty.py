"""Intervals of probabilities: wide for new products and for rare leads.

On the scale of log-odds, the rate of similar pairs deviates from its prediction by what the
calibration monitor shows of past predictions and their outcomes:

    center   = prediction + bias of its band
    variance = of products with as many decisions  +  of leads of its group  +  of its band's bias

- *Bands*: matches of similar prediction had more or fewer positives than predicted; that is the
  bias, and its variance is 1 / i, with the information `i` the sum of p (1 - p) over the matches.
- *Products*: the error that matches of one product and lead group share, by the number of decisions
  known of the product. The product of the errors of two such matches has the mean variance of the
  shared error times p (1 - p) of each, so the variance is estimated on groups of two matches or
  more. More decisions never make an interval wider.
- *Leads*: groups by segment, bureau score and amount to income. With the prior variance `t` among
  groups, the posterior variance is 1 / (1 / t + i): all of `t` for a group without decisions.

A right-censored loan counts by the part of its horizon that was observed, so unknown outcomes
narrow no interval. The variances start from the priors in `models/params.yml` and shrink toward
them. The ends are `deviations` from the center, because errors have heavier tails than the normal
distribution. The interval is a confidence interval for the rate of such pairs and always contains
the prediction; it is not a prediction interval for one person.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from models.features.columns import to_floats
from models.params import params
from models.validation.calibration_monitor import BANDS, find_bands
from models.validation.splits import row_weights
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import clip_probability, logit, round_significant, sigmoid

EVIDENCE_STEPS = (1, 5, 20, 100)
"""Known decisions of a product at which its steps of evidence begin, after the step of none."""
SCORE_EDGES = (550.0, 600.0, 650.0, 700.0, 750.0)
AMOUNT_EDGES = (0.25, 0.5, 1.0, 2.0)
"""Requested amount over a year's income or revenue at which the next lead group begins."""
LEAD_GROUPS = 2 * (len(SCORE_EDGES) + 2) * (len(AMOUNT_EDGES) + 2)


@dataclass(frozen=True)
class IntervalModel:
    """The estimated errors of one probability; variances on the scale of log-odds."""

    product_variances: tuple[float, ...]
    """By step of evidence."""
    lead_information: tuple[float, ...]
    """Of each lead group."""
    band_biases: tuple[float, ...]
    """Of each band: observed less predicted log-odds."""
    band_variances: tuple[float, ...]
    """Variance of each band's bias."""
    rows: int
    """Outcomes that it was fitted on."""

    @classmethod
    def prior(cls) -> Self:
        """Return the priors of the parameters, which hold without any outcome."""
        stated, bands = params().uncertainty, len(BANDS) + 1
        return cls(
            product_variances=stated.product_variances,
            lead_information=(0.0,) * LEAD_GROUPS,
            band_biases=(0.0,) * bands,
            band_variances=(stated.band_variance,) * bands,
            rows=0,
        )

    @classmethod
    def fit(cls, table: pa.Table, predicted: FloatArray) -> Self:
        """Return the errors of past predictions.

        Args:
            table: Rows with `label`, `institution_id`, `product_id` and what `predict_intervals`
                reads; their weight is `weight`, without that column 1.
            predicted: The past prediction for each row.
        """
        if not table.num_rows:
            return cls.prior()
        stated, outcomes = params().uncertainty, to_floats(table, "label")
        weights = row_weights(table)
        bands, number = find_bands(predicted), len(BANDS) + 1
        biases = _estimate_biases(bands, predicted, outcomes, weights)
        corrected = sigmoid(_clipped_logit(predicted) + biases[bands])
        errors = weights * (outcomes - corrected)
        information = weights * corrected * (1 - corrected)
        steps, lead_groups = _find_evidence_steps(table), _find_lead_groups(table)
        pair_groups = _encode_products(table) * LEAD_GROUPS + lead_groups
        by_step = [
            _shared_variance(
                pair_groups[steps == step], errors[steps == step], information[steps == step], prior
            )
            for step, prior in enumerate(stated.product_variances)
        ]
        in_bands = np.bincount(bands, information, number)
        return cls(
            # monotone: more evidence never widens an interval
            product_variances=_round(np.maximum.accumulate(by_step[::-1])[::-1]),
            lead_information=_round(np.bincount(lead_groups, information, LEAD_GROUPS)),
            band_biases=_round(biases),
            band_variances=_round(1 / (1 / stated.band_variance + in_bands)),
            rows=table.num_rows,
        )

    def predict_intervals(
        self, table: pa.Table, predicted: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the lower and upper end of each row's interval, which contains `predicted`.

        Args:
            table: Rows with `product_decisions`, `segment`, `bureau_score`, `amount_to_income` and
                `amount_to_revenue`.
            predicted: The probability of each row.
        """
        return self._intervals(_find_evidence_steps(table), _find_lead_groups(table), predicted)

    def _intervals(
        self, steps: IntArray, lead_groups: IntArray, predicted: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        stated, bands = params().uncertainty, find_bands(predicted)
        of_leads = 1 / (1 / stated.lead_variance + np.array(self.lead_information))
        variance = (
            np.array(self.product_variances)[steps]
            + of_leads[lead_groups]
            + np.array(self.band_variances)[bands]
        )
        center = _clipped_logit(predicted) + np.array(self.band_biases)[bands]
        half_width = stated.deviations * np.sqrt(variance)
        low, high = sigmoid(center - half_width), sigmoid(center + half_width)
        return np.minimum(low, predicted), np.maximum(high, predicted)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the model that `as_dict` described."""
        tuples = {name: tuple(value) for name, value in content.items() if name != "rows"}
        return cls(**tuples, rows=content["rows"])


def add_intervals(scored: pa.Table, models: Mapping[str, IntervalModel]) -> pa.Table:
    """Return `scored` with `NAME_low` and `NAME_high` for each probability in `models`.

    Args:
        scored: Rows with the probabilities, and what `IntervalModel.predict_intervals` reads.
        models: Column of a probability -> its interval model.
    """
    steps, lead_groups = _find_evidence_steps(scored), _find_lead_groups(scored)
    for name, model in models.items():
        ends = model._intervals(steps, lead_groups, to_floats(scored, name))  # noqa: SLF001  same module
        for end, values in zip(("low", "high"), ends, strict=True):
            scored = scored.append_column(f"{name}_{end}", pa.array(values))
    return scored


def _estimate_biases(
    bands: IntArray, predicted: FloatArray, outcomes: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the bias of each band's log-odds, shrunken by `prior_matches` unbiased matches."""
    number, prior = len(BANDS) + 1, params().uncertainty.prior_matches
    rows, expected, observed = (
        np.bincount(bands, values, number)
        for values in (weights, weights * predicted, weights * outcomes)
    )
    mean = np.divide(expected, rows, out=np.full(number, 0.5), where=rows > 0)
    return _clipped_logit((observed + prior * mean) / (rows + prior)) - _clipped_logit(mean)


def _shared_variance(
    groups: IntArray, errors: FloatArray, information: FloatArray, prior: float
) -> float:
    """Return the variance of the error that the rows of a group share.

    The sum over pairs of rows of one group is half of the square of the sum less the sum of
    squares.
    """
    if not groups.size:
        return prior
    prior_pairs = params().uncertainty.prior_pairs
    _, group = np.unique(groups, return_inverse=True)
    observed, expected = (
        np.sum(np.bincount(group, values) ** 2 - np.bincount(group, values**2))
        for values in (errors, information)
    )
    return float(max(0.0, observed + prior_pairs * prior) / (expected + prior_pairs))


def _clipped_logit(probability: FloatArray) -> FloatArray:
    return logit(clip_probability(probability))


def _round(values: Any) -> tuple[float, ...]:
    return tuple(round_significant(value) for value in values)


def _encode_products(table: pa.Table) -> IntArray:
    keys = [
        table[name].combine_chunks().dictionary_encode()
        for name in ("institution_id", "product_id")
    ]
    first, second = (np.asarray(key.indices.to_numpy(), np.int64) for key in keys)
    _, codes = np.unique(first * len(keys[1].dictionary) + second, return_inverse=True)
    return np.asarray(codes, np.int64)


def _find_evidence_steps(table: pa.Table) -> IntArray:
    decisions = np.nan_to_num(to_floats(table, "product_decisions"), nan=0.0)
    return np.asarray(np.searchsorted(EVIDENCE_STEPS, decisions, side="right"))


def _find_lead_groups(table: pa.Table) -> IntArray:
    """Return the group of each row's lead; an unknown value is a group of its own."""
    is_business = np.asarray(pa.compute.equal(table["segment"], "business").to_numpy(), np.int64)
    income, revenue = (to_floats(table, f"amount_to_{name}") for name in ("income", "revenue"))
    share = np.where(is_business == 1, revenue, income)
    score = _find_bin(SCORE_EDGES, to_floats(table, "bureau_score"))
    return (is_business * (len(SCORE_EDGES) + 2) + score) * (len(AMOUNT_EDGES) + 2) + _find_bin(
        AMOUNT_EDGES, share
    )


def _find_bin(edges: tuple[float, ...], values: FloatArray) -> IntArray:
    bins = np.searchsorted(edges, values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, bins)
