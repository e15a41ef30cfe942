"""Why a model of SBA's loans has a higher AUC in random folds than by time, measured in parts.

Random folds have loans of one lender and month on both sides. The effect shows when whole months,
or whole lenders, are held out instead. Other changes show feature by feature, and in how well a
loan's own columns predict its period."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.params import Features, params
from models.training.dataset import load_examples
from models.training.fit_model import fit
from models.validation import splits
from pipelines.bench.evaluate import (
    CLOSED_PORTFOLIO,
    LEAD_DAY,
    Experiment,
    load_closed_portfolio,
    predict_held_out,
    random_folds,
)
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.settings import Settings
from pipelines.core.statistics import auc, quantile_edges

FOLDS = 5
"""Folds of loans, months and lenders."""
SEED = 20_261_124
BANDS = 10
PRIOR_ROWS = 30
"""Rows of the mean rate that are added to the rows of a value, where a single column predicts."""
RECENT = np.datetime64("2003-01-01")
"""SBA's portfolio has few loans between 1997 and 2003."""
FEWEST_LOANS_OF_A_YEAR = 300
YEARS_OBSERVED = 5
"""Of the shorter outcome: charged off within this many years."""
FILE_ENDS = np.datetime64("2014-12-31")
"""A loan still open on this day is recorded as paid (expectations/mappings/sba.yml)."""

Row = dict[str, Any]


def explain(settings: Settings, day: date, experiment: Experiment) -> dict[str, list[Row]]:
    """Return the differences between the two splits, as rows of four tables.

    Args:
        settings: Settings of the home with the prepared portfolio.
        day: Date of its marts.
        experiment: By time, of a closed portfolio; `split` is the first day of the later loans.
    """
    portfolio = Portfolio.load(settings, day, experiment)
    known_on = load_examples(settings, day, CLOSED_PORTFOLIO, as_of=day)[
        "label_known_on"
    ].to_numpy()
    random = portfolio.predict_folds(portfolio.features, portfolio.folds)
    return {
        "held_out": list(_compare_held_out(portfolio, random)),
        "years": list(_compare_years(portfolio, random)),
        "columns": list(_compare_columns(portfolio)),
        "outcomes": list(_compare_outcomes(portfolio, random, known_on)),
    }


class Portfolio:
    """Labelled loans, some of them later ones."""

    def __init__(self, table: pa.Table, experiment: Experiment, threads: int):
        self.table, self.experiment, self._threads = table, experiment, threads
        self.features = experiment.features
        self.labels = np.asarray(table["label"].to_numpy(), dtype=np.float64)
        self.days = table[LEAD_DAY].to_numpy()
        self.years = self.days.astype("datetime64[Y]").astype(np.int64) + 1970
        self.is_later = self.days >= np.datetime64(experiment.split)

    @classmethod
    def load(cls, settings: Settings, day: date, experiment: Experiment) -> "Portfolio":
        """Return the whole portfolio of `experiment`."""
        return cls(load_closed_portfolio(settings, day), experiment, settings.threads)

    @property
    def folds(self) -> IntArray:
        """The random fold of each row, as `bench models --folds` assigns it."""
        return random_folds(len(self.labels), FOLDS)

    def folds_by_group(self, groups: IntArray) -> IntArray:
        """Return a random fold for each row; rows of one group share a fold."""
        _, code = np.unique(groups, return_inverse=True)
        return np.random.default_rng(SEED).permutation(int(code.max()) + 1)[code] % FOLDS

    def predict_folds(self, features: Features, folds: IntArray) -> FloatArray:
        """Return the predictions for each fold by a model of the other folds."""
        return predict_held_out(self.table, features, folds, threads=self._threads)

    def predict_later(self, rows: BoolArray) -> FloatArray:
        """Return the predictions for the later loans by a model of some `rows`."""
        before = self.table.filter(pa.array(rows))
        model, _ = fit(before, self.features, splits.split_by_time(before))
        return model.predict(self.table.filter(pa.array(self.is_later)), threads=self._threads)

    def relabel(self, labels: FloatArray, is_included: BoolArray) -> "Portfolio":
        """Return the included loans with other labels."""
        position = self.table.column_names.index("label")
        table = self.table.set_column(position, "label", pa.array(labels))
        return Portfolio(table.filter(pa.array(is_included)), self.experiment, self._threads)


def _compare_held_out(portfolio: Portfolio, random: FloatArray) -> Iterator[Row]:
    """Yield the AUC by what is held out together."""
    effects = frozenset(level.name for level in params().lender_effects.levels)
    without_effects = portfolio.features.without(effects)
    months = portfolio.days.astype("datetime64[M]").astype(np.int64)
    lender_column = portfolio.table["institution_id"].combine_chunks()
    lenders = pc.dictionary_encode(lender_column).indices.to_numpy()
    by_month, by_lender = (portfolio.folds_by_group(groups) for groups in (months, lenders))
    for label, predicted in (
        ("single loans (random folds)", random),
        (
            "single loans, no lender effects",
            portfolio.predict_folds(without_effects, portfolio.folds),
        ),
        ("whole months", portfolio.predict_folds(portfolio.features, by_month)),
        ("whole lenders", portfolio.predict_folds(portfolio.features, by_lender)),
    ):
        row = {"held_out": label, "auc_of_all": auc(predicted, portfolio.labels)[0]}
        yield row | _compare_later(portfolio, predicted[portfolio.is_later])
    is_before = ~portfolio.is_later
    recent_label = f"the same, fitted from {RECENT.astype('datetime64[Y]')} on"
    for label, rows in (
        ("all later loans (by time)", is_before),
        (recent_label, is_before & (portfolio.days >= RECENT)),
    ):
        row = {"held_out": label, "auc_of_all": None}
        yield row | _compare_later(portfolio, portfolio.predict_later(rows))
    every = np.ones(len(random), dtype=bool)
    period = portfolio.relabel(portfolio.is_later.astype(np.float64), every)
    predicted = period.predict_folds(without_effects, portfolio.folds)
    yield {
        "held_out": "(prediction of whether a loan is a later one, from its own columns)",
        "auc_of_all": auc(predicted, period.labels)[0],
        "auc_of_later": None,
        "predicted": None,
        "observed": None,
    }


def _compare_later(portfolio: Portfolio, predicted: FloatArray) -> Row:
    outcomes = portfolio.labels[portfolio.is_later]
    return {
        "auc_of_later": auc(predicted, outcomes)[0],
        "predicted": float(predicted.mean()),
        "observed": float(outcomes.mean()),
    }


def _compare_years(portfolio: Portfolio, random: FloatArray) -> Iterator[Row]:
    """Yield rate and AUC within each year, then across years, then of the year's rate."""
    pairs_within, ordered_within = 0.0, 0.0
    for year in np.unique(portfolio.years):
        rows = portfolio.years == year
        outcomes = portfolio.labels[rows]
        pairs = float(outcomes.sum() * (1 - outcomes).sum())
        if not pairs:
            continue
        area = auc(random[rows], outcomes)[0]
        pairs_within, ordered_within = pairs_within + pairs, ordered_within + pairs * area
        if rows.sum() >= FEWEST_LOANS_OF_A_YEAR:
            yield _year_row(f"{year}", area, int(rows.sum()), float(outcomes.mean()))
    labels = portfolio.labels
    every_pair = float(labels.sum() * (1 - labels).sum())
    share = pairs_within / every_pair
    ordered_across = auc(random, labels)[0] * every_pair - ordered_within
    within, across = ordered_within / pairs_within, ordered_across / (every_pair - pairs_within)
    yield _year_row(f"pairs of loans of one year ({share:.0%} of all)", within)
    yield _year_row("pairs of loans of two years", across)
    rates = _rates_of_other_folds(portfolio.years, labels, portfolio.folds)
    yield _year_row("the rate of the year, all loans", auc(rates, labels)[0])


def _year_row(label: str, area: float, rows: int | None = None, rate: float | None = None) -> Row:
    return {"year": label, "rows": rows, "rate": rate, "auc": area}


def _compare_columns(portfolio: Portfolio) -> Iterator[Row]:
    """Yield the AUC of each single column, within a period and from one period to the next."""
    periods = {
        "of_1997": portfolio.years == 1997,  # noqa: PLR2004  the portfolio's first large year
        "of_2004": (portfolio.years == 2004) & ~portfolio.is_later,  # noqa: PLR2004  and its second
        "of_later": portfolio.is_later,
    }
    halves = np.random.default_rng(SEED).integers(0, 2, len(portfolio.labels))
    columns = set(portfolio.features.names) & set(portfolio.table.column_names)
    for name in sorted(columns | {"institution_id"}):
        codes = _encode_values(portfolio.table[name])
        if len(np.unique(codes)) == 1:
            continue
        areas: Row = {}
        for period, rows in periods.items():
            outcomes = portfolio.labels[rows]
            rates = _rates_of_other_folds(codes[rows], outcomes, halves[rows])
            areas[period] = auc(rates, outcomes)[0] if len(set(outcomes)) > 1 else None
        before = np.where(portfolio.is_later, 0, 1)
        rates = _rates_of_other_folds(codes, portfolio.labels, before)[portfolio.is_later]
        areas["before_to_later"] = auc(rates, portfolio.labels[portfolio.is_later])[0]
        yield {"column": name} | areas


def _compare_outcomes(portfolio: Portfolio, random: FloatArray, known_on: Any) -> Iterator[Row]:
    """Yield the effect of loans of some years being observed for longer than others."""
    took = (known_on - portfolio.days).astype("timedelta64[D]").astype(np.float64) / 365.25
    is_open = (portfolio.labels == 0) & (known_on > FILE_ENDS)
    within_years = (portfolio.labels == 1) & (took <= YEARS_OBSERVED + 1)
    every = np.ones(len(took), dtype=bool)
    for label, labels, is_included in (
        ("all", portfolio.labels, every),
        ("without loans that were open at the file's end", portfolio.labels, ~is_open),
        (f"charged off within about {YEARS_OBSERVED} years", within_years.astype(float), every),
    ):
        changed = portfolio.relabel(labels, is_included)
        later = changed.labels[changed.is_later]
        by_time = changed.predict_later(~changed.is_later)
        is_changed = labels is not portfolio.labels or not is_included.all()
        folds = changed.predict_folds(changed.features, changed.folds) if is_changed else random
        yield {
            "outcomes": label,
            "rows": len(changed.labels),
            "rate_before": float(changed.labels[~changed.is_later].mean()),
            "rate_later": float(later.mean()),
            "auc_random": auc(folds, changed.labels)[0],
            "auc_by_time": auc(by_time, later)[0],
        }


def _rates_of_other_folds(codes: IntArray, labels: FloatArray, folds: IntArray) -> FloatArray:
    """Return the rate of each row's code in the other folds, shrunken toward their mean."""
    _, code = np.unique(codes, return_inverse=True)
    rates = np.empty(len(labels))
    for fold in np.unique(folds):
        others = folds != fold
        positives = np.bincount(code[others], labels[others], code.max() + 1)
        rows = np.bincount(code[others], minlength=code.max() + 1)
        mean = labels[others].mean()
        rate = (positives + PRIOR_ROWS * mean) / (rows + PRIOR_ROWS)
        rates[folds == fold] = rate[code[folds == fold]]
    return rates


def _encode_values(column: pa.ChunkedArray) -> IntArray:
    """Return a code for each value: of a text itself, of a number its band; null is one code."""
    if pa.types.is_string(column.type):
        encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
        return np.asarray(encoded.indices.to_numpy(), dtype=np.int64)
    values = pc.cast(column, pa.float64()).to_numpy()
    if np.isnan(values).all():
        return np.zeros(len(values), dtype=np.int64)
    ends = quantile_edges(values[~np.isnan(values)], BANDS)
    return np.where(np.isnan(values), -1, np.searchsorted(ends, values, side="right"))
