"""How sure a probability is: an interval that is wide for new products and for rare leads.

On the scale of log-odds a rate lies off its prediction by what is learned from odds that were given
before and what came of them:

    centre   = prediction + shift of its band
    variance = of products with as many decisions  +  of leads like this one  +  of the band

- *Band*: matches of like prediction happened more or less often than was said; that is the shift,
  and its variance is 1 / i, with the information `i` the sum of p (1 - p) over them.
- *Products*: errors that matches of one product and of like leads share, in steps of the decisions
  known of the product. Of two such matches the product of the errors is, on average, the variance
  of what they share times p (1 - p) of each; so it is measured on groups of two matches or more.
  With fewer decisions an interval is never narrower.
- *Leads*: leads are told apart by segment, bureau score and amount to income. With `t` the variance
  that is assumed among such cells, what is left is 1 / (1 / t + i): all of `t` where no such lead
  was ever decided on.

A loan that still runs counts as far as it has been seen: what is not known yet narrows nothing.
Until there is something to learn from, the variances are those assumed in `models/params.yml`, and
what is learned from few is pulled to them. Ends lie `deviations` from the centre; errors have more
tail than the normal distribution's. The interval is of the rate among such pairs and always holds
the prediction; what a single person's luck will be, no interval says.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from models.features.encoder import numbers
from models.params import params
from models.validation.splits import weights_of
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.statistics import clip_probability, logit, round_significant, sigmoid

EVIDENCE = (1, 5, 20, 100)
"""Decisions known of a product at which its step of evidence begins, after the step of none."""
SCORES = (550.0, 600.0, 650.0, 700.0, 750.0)
SHARES = (0.25, 0.5, 1.0, 2.0)
"""Amount asked for over a year's income or revenue at which the next cell begins."""
BANDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Probabilities at which the next band begins."""
CELLS = 2 * (len(SCORES) + 2) * (len(SHARES) + 2)


@dataclass(frozen=True)
class Widths:
    """What was learned of one probability's errors; variances on the scale of log-odds."""

    products: tuple[float, ...]
    """By step of evidence."""
    information: tuple[float, ...]
    """Of each cell of leads."""
    shifts: tuple[float, ...]
    """Of each band: observed less predicted log-odds."""
    bands: tuple[float, ...]
    """Variance of each band's shift."""
    rows: int
    """Outcomes that it was learned from."""

    @classmethod
    def assumed(cls) -> Self:
        """Return what is assumed while nothing is known."""
        stated, bands = params().uncertainty, len(BANDS) + 1
        return cls(
            products=stated.product_variances,
            information=(0.0,) * CELLS,
            shifts=(0.0,) * bands,
            bands=(stated.band_variance,) * bands,
            rows=0,
        )

    @classmethod
    def learned(cls, table: pa.Table, predicted: FloatArray) -> Self:
        """Return what outcomes say of the odds that were given.

        Args:
            table: Rows with `label`, `institution_id`, `product_id` and what `intervals` reads; how
                much each counts is its `weight`, without that column 1.
            predicted: The probability that was given for each row.
        """
        if not table.num_rows:
            return cls.assumed()
        stated, happened, counts = params().uncertainty, numbers(table, "label"), weights_of(table)
        bands, number = _bands(predicted), len(BANDS) + 1
        shifts = _shifts(bands, predicted, happened, counts)
        inside = sigmoid(_clipped_logit(predicted) + shifts[bands])
        off, weight = counts * (happened - inside), counts * inside * (1 - inside)
        steps, cells = _steps(table), _cells(table)
        alike = _codes(table) * CELLS + cells
        by_step = [
            _shared_variance(
                alike[steps == step], off[steps == step], weight[steps == step], assumed
            )
            for step, assumed in enumerate(stated.product_variances)
        ]
        in_bands = np.bincount(bands, weight, number)
        return cls(
            # more evidence is never worth less
            products=_plain(np.maximum.accumulate(by_step[::-1])[::-1]),
            information=_plain(np.bincount(cells, weight, CELLS)),
            shifts=_plain(shifts),
            bands=_plain(1 / (1 / stated.band_variance + in_bands)),
            rows=table.num_rows,
        )

    def intervals(self, table: pa.Table, predicted: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the lower and upper ends of each row's interval; they hold `predicted`.

        Args:
            table: Rows with `product_decisions`, `segment`, `bureau_score`, `amount_to_income` and
                `amount_to_revenue`.
            predicted: The probability of each row.
        """
        return self._of_places(_steps(table), _cells(table), predicted)

    def _of_places(
        self, steps: IntArray, cells: IntArray, predicted: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        stated, bands = params().uncertainty, _bands(predicted)
        of_cells = 1 / (1 / stated.lead_variance + np.array(self.information))
        variance = np.array(self.products)[steps] + of_cells[cells] + np.array(self.bands)[bands]
        centre = _clipped_logit(predicted) + np.array(self.shifts)[bands]
        away = stated.deviations * np.sqrt(variance)
        low, high = sigmoid(centre - away), sigmoid(centre + away)
        return np.minimum(low, predicted), np.maximum(high, predicted)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name, for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Self:
        """Return what `as_dict` gave."""
        lists = ("products", "information", "shifts", "bands")
        return cls(**said | {name: tuple(said[name]) for name in lists})


def with_intervals(scored: pa.Table, widths: Mapping[str, Widths]) -> pa.Table:
    """Return `scored` with `NAME_low` and `NAME_high` for each probability that `widths` names.

    Args:
        scored: Rows with the probabilities, and what `Widths.intervals` reads.
        widths: Column of a probability -> what was learned of its errors.
    """
    steps, cells = _steps(scored), _cells(scored)
    for name, sure in widths.items():
        ends = sure._of_places(steps, cells, numbers(scored, name))  # noqa: SLF001  its own module
        for end, values in zip(("low", "high"), ends, strict=True):
            scored = scored.append_column(f"{name}_{end}", pa.array(values))
    return scored


def _shifts(
    bands: IntArray, predicted: FloatArray, happened: FloatArray, counts: FloatArray
) -> FloatArray:
    """Return how far the log-odds of each band are off, as if `few_matches` more had been right."""
    number, few = len(BANDS) + 1, params().uncertainty.few_matches
    rows, said, came = (
        np.bincount(bands, weights, number)
        for weights in (counts, counts * predicted, counts * happened)
    )
    mean = np.divide(said, rows, out=np.full(number, 0.5), where=rows > 0)
    return _clipped_logit((came + few * mean) / (rows + few)) - _clipped_logit(mean)


def _shared_variance(alike: IntArray, off: FloatArray, weight: FloatArray, assumed: float) -> float:
    """Return the variance of the error that rows which are `alike` share.

    The sum over pairs of rows of one group is half of what the square of the sum has more than the
    sum of squares.
    """
    if not alike.size:
        return assumed
    few = params().uncertainty.few_pairs
    _, group = np.unique(alike, return_inverse=True)
    errors, expected = (
        np.sum(np.bincount(group, values) ** 2 - np.bincount(group, values**2))
        for values in (off, weight)
    )
    return float(max(0.0, errors + few * assumed) / (expected + few))


def _clipped_logit(probability: FloatArray) -> FloatArray:
    return logit(clip_probability(probability))


def _plain(values: Any) -> tuple[float, ...]:
    return tuple(round_significant(value) for value in values)


def _codes(table: pa.Table) -> IntArray:
    keys = [
        table[name].combine_chunks().dictionary_encode()
        for name in ("institution_id", "product_id")
    ]
    first, second = (np.asarray(key.indices.to_numpy(), np.int64) for key in keys)
    _, codes = np.unique(first * len(keys[1].dictionary) + second, return_inverse=True)
    return np.asarray(codes, np.int64)


def _steps(table: pa.Table) -> IntArray:
    known = np.nan_to_num(numbers(table, "product_decisions"), nan=0.0)
    return np.asarray(np.searchsorted(EVIDENCE, known, side="right"))


def _bands(predicted: FloatArray) -> IntArray:
    return np.asarray(np.searchsorted(BANDS, predicted, side="right"))


def _cells(table: pa.Table) -> IntArray:
    """Return the cell of each row's lead; what is not known is a cell of its own."""
    is_business = np.asarray(pa.compute.equal(table["segment"], "business").to_numpy(), np.int64)
    income, revenue = (numbers(table, f"amount_to_{name}") for name in ("income", "revenue"))
    share = np.where(is_business == 1, revenue, income)
    place = is_business * (len(SCORES) + 2) + _place(SCORES, numbers(table, "bureau_score"))
    return place * (len(SHARES) + 2) + _place(SHARES, share)


def _place(begins: tuple[float, ...], values: FloatArray) -> IntArray:
    found = np.searchsorted(begins, values, side="right")
    return np.where(np.isnan(values), len(begins) + 1, found)
