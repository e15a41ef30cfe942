"""Experiments on models: training rows, predicted rows, and the figures of the result.

An experiment reads the training pairs of a home, so features are as of each lead's day.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import TooFewRows, UnknownFeature
from models.features.encoder import mask_lender
from models.params import FeatureGroup, Features, Label, params
from models.training.dataset import load_examples
from models.training.fit_model import InsufficientData, fit
from models.validation import splits
from models.validation.metrics import count_groups_within_interval, estimate_intervals, evaluate
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

LEAD_DAY = "business_date"
DAY_AS_NUMBER = "lead_day"
LENDER = "institution_id"
FEWEST_FOLDS = 2
CALIBRATION_FOLDS = 3
TEST_SHARE = 0.2
"""Last share of the rows, by time, that is predicted where no split is given."""
UNSEEN_SHARE = 0.2
"""Share of the values of a column whose rows are held out of training."""
FEWEST_ROWS_OF_A_LENDER = 100
"""Least rows for a check of a lender's calibration."""

CLOSED_PORTFOLIO: Label = "charged_off"
"""Label of a closed portfolio. The outcome of a loan is known years later, so by any split only the
quickest charge-offs were. In a closed portfolio a split therefore separates the lending of two
periods, and every outcome counts; `labels_known` of the figures says so. For the other labels an
outcome that was not known by the split does not count, unless the experiment says so."""

MODELS: dict[Label, str] = {"approved": "approval", "funded": "take_up", "defaulted": "risk"}
"""Label -> the model whose features are used."""

PORTFOLIO_FEATURES: tuple[FeatureGroup, ...] = ("lead", "product", "pair", "effect")
"""Feature groups of a closed portfolio. It holds granted loans only: no model of a day exists for
it, and earlier approval rates carry no information where only approvals are recorded."""


@dataclass(frozen=True)
class Experiment:
    """The label, the rows to learn from and to predict, and the features."""

    target: Label
    time: str | None = None
    """Column that splits the rows; None: random folds."""
    split: str | None = None
    """Rows below this value are learned from, the others predicted; None: the last fifth is."""
    folds: int = 5
    drop: frozenset[str] = frozenset()
    with_day: bool = False
    """True to use the lead's day as a feature. No model of a day does: it only predicts later days.
    In random folds each day has rows on both sides."""
    with_late_outcomes: bool = False
    """True to count outcomes of rows before the split that were reported after it."""
    retrain_every: int | None = None
    """Days after which another model is fitted to what is known by then, as the pipeline does each
    week; None: one model predicts all rows."""
    unseen: str | None = None
    """Column of which a share of the values is held out of training; only its rows are predicted.
    A held-out lender is predicted as a lender without history."""

    @property
    def features(self) -> Features:
        """The features of the target's model, without dropped ones and effects made of them."""
        if self.target == CLOSED_PORTFOLIO:
            known = params().group_features(PORTFOLIO_FEATURES)
        else:
            known = params().model_features(MODELS[self.target])
        if unknown := sorted(self.drop - set(known.names)):
            raise UnknownFeature(unknown, known.names)
        levels = params().lender_effects.levels
        derived = {level.name for level in levels if self.drop & set(level.columns)}
        remaining = known.without(self.drop | derived)
        days = (DAY_AS_NUMBER,) if self.with_day else ()
        return remaining.model_copy(update={"numbers": (*remaining.numbers, *days)})

    @property
    def is_as_of_split(self) -> bool:
        """True where only labels count that were known by the split."""
        is_open = self.target != CLOSED_PORTFOLIO
        return self.time == LEAD_DAY and is_open and not self.with_late_outcomes

    def check(self) -> None:
        """Refuse an impossible experiment before any work.

        Raises:
            UsageError: Options that contradict each other.
            UnknownFeature: A column to drop is not a feature of the model.
        """
        for option, is_given in (
            ("--split", self.split is not None),
            ("--unseen", self.unseen is not None),
            ("--with-late-outcomes", self.with_late_outcomes),
        ):
            if is_given and self.time is None:
                raise UsageError(f"{option} needs --time, the split column. Nothing was measured.")
        if self.with_day and self.time is not None:
            raise UsageError("--with-day needs random folds, no --time. Nothing was measured.")
        if self.retrain_every is not None and not (self.retrain_every > 0 and self.is_as_of_split):
            raise UsageError(
                f"--retrain-every is {self.retrain_every}; it is a number of days from 1 on, with "
                f"--time {LEAD_DAY}, without --with-late-outcomes and not of a closed portfolio. "
                "Nothing was measured."
            )
        if self.folds < FEWEST_FOLDS:
            raise UsageError(
                f"--folds is {self.folds}; it is at least {FEWEST_FOLDS}. Nothing was measured."
            )
        _ = self.features


def run_experiment(settings: Settings, day: date, experiment: Experiment) -> dict[str, Any]:
    """Return the figures of `experiment` on the training pairs in the marts of `day`.

    Returns:
        The fields of `ValidationMetrics` except `rows`, and of `estimate_intervals`;
        `rows_train`, `rows_test`; `lenders_checked`, the lenders with 100 or more predicted rows,
        and of them `lenders_within` (see `count_groups_within_interval`) with the lender drift
        measured during calibration (`lender_drift`, a variance of log-odds), and
        `lenders_within_without_drift`,
        the count without an allowance, as across folds; `labels_known`, by the split or at the end.
        By time also `split`, and `models`, the number of models fitted one after another.

    Raises:
        UsageError: A column of the experiment does not exist.
        TooFewRows: Too few rows to fit a model.
    """
    is_closed = experiment.target == CLOSED_PORTFOLIO
    table = (
        load_closed_portfolio(settings, day)
        if is_closed
        else load_examples(settings, day, experiment.target, as_of=day)
    )
    if experiment.with_day:
        days = pc.cast(table[LEAD_DAY], pa.int32())
        table = table.append_column(DAY_AS_NUMBER, days)
    try:
        if experiment.time is None:
            return _predict_folds(settings, table, experiment)
        return _predict_later(settings, day, table, experiment)
    except InsufficientData as reason:
        raise TooFewRows(experiment.target, reason) from None


def load_closed_portfolio(settings: Settings, day: date) -> pa.Table:
    """Return all loans of a closed portfolio, each labelled as of its lead's day."""
    table = load_examples(settings, day, CLOSED_PORTFOLIO, as_of=day)
    position = table.column_names.index("label_known_on")
    return table.set_column(position, "label_known_on", table[LEAD_DAY])


def _predict_later(
    settings: Settings, day: date, table: pa.Table, experiment: Experiment
) -> dict[str, Any]:
    """Fit on the rows before the split, calibrate on the newest of them; predict the others."""
    for name in filter(None, (experiment.time, experiment.unseen)):
        if name not in table.column_names:
            raise UsageError(f"no column is named {name}; there are: {table.column_names}")
    split = _split_value(experiment, table[experiment.time])
    test_rows, predicted, drifts = [], [], []
    for start, window in _test_windows(experiment, split, table):
        if experiment.is_as_of_split:
            before = load_examples(settings, day, experiment.target, as_of=start.as_py())
        else:
            before = table.filter(pc.less(table[experiment.time], start))
        rows = window
        if experiment.unseen is not None:
            before = before.filter(pa.array(~_is_held_out(before[experiment.unseen])))
            rows = window.filter(pa.array(_is_held_out(window[experiment.unseen])))
        model, facts = fit(before, experiment.features, splits.split_by_time(before))
        test_rows.append(rows)
        as_scored = mask_lender(rows) if experiment.unseen == LENDER else rows
        predicted.append(model.predict(as_scored, threads=settings.threads))
        drifts.append(facts["lender_drift"])  # words: keep - the name in the training facts
    figures = _figures(
        np.asarray(np.concatenate(predicted)),
        pa.concat_tables(test_rows),
        before.num_rows,
        lender_drift=drifts[0],  # later models have seen outcomes that are evaluated here
    )
    return figures | {
        "split": f"{split}",
        "labels_known": "by the split" if experiment.is_as_of_split else "at the end",
        "models": len(predicted),
    }


def _test_windows(
    experiment: Experiment, split: pa.Scalar, table: pa.Table
) -> Iterator[tuple[pa.Scalar, pa.Table]]:
    """Yield the start of each window that one model predicts, and its rows, from the split on."""
    values = table[experiment.time]
    if experiment.retrain_every is None:
        yield split, table.filter(pc.greater_equal(values, split))
        return
    start, last = split.as_py(), pc.max(values).as_py()
    while start <= last:
        end = start + timedelta(days=experiment.retrain_every)
        inside = table.filter(pc.and_(pc.greater_equal(values, start), pc.less(values, end)))
        if inside.num_rows:
            yield pa.scalar(start), inside
        start = end


def _split_value(experiment: Experiment, values: pa.ChunkedArray) -> pa.Scalar:
    """Return the value from which on rows are predicted."""
    if experiment.split is None:
        ordered = values.take(pc.sort_indices(values))
        return ordered[int((1 - TEST_SHARE) * len(ordered))]
    try:
        return pa.scalar(experiment.split).cast(values.type)
    except pa.ArrowInvalid:
        raise UsageError(
            f"{experiment.split!r} is no {values.type} as {experiment.time} is. Nothing was "
            "measured."
        ) from None


def _is_held_out(column: pa.ChunkedArray) -> BoolArray:
    """Return which rows have a value that is held out of training, by the hash of the value."""
    encoded = pc.dictionary_encode(column.combine_chunks().cast(pa.string()))
    digests = [hashlib.sha256(f"{v}".encode()).digest() for v in encoded.dictionary.to_pylist()]
    held = np.array([digest[0] < UNSEEN_SHARE * 256 for digest in digests], dtype=bool)
    codes = pc.fill_null(encoded.indices, -1).to_numpy()
    return np.asarray((codes >= 0) & held[codes])


def _predict_folds(settings: Settings, table: pa.Table, experiment: Experiment) -> dict[str, Any]:
    """Predict each random fold by a model of the others."""
    folds = random_folds(table.num_rows, experiment.folds)
    predicted = predict_held_out(table, experiment.features, folds, threads=settings.threads)
    rows_train = table.num_rows - table.num_rows // experiment.folds
    return _figures(predicted, table, rows_train) | {"labels_known": "at the end"}


def random_folds(rows: int, folds: int) -> IntArray:
    """Return the random fold of each row."""
    fold_of_row = np.zeros(rows, dtype=np.int64)
    for number, fold in enumerate(splits.split_at_random(rows, folds)):
        fold_of_row[fold.validate] = number
    return fold_of_row


def predict_held_out(
    table: pa.Table, features: Features, groups: IntArray, *, threads: int
) -> FloatArray:
    """Return the predictions for each group of rows by a model of all other groups.

    Args:
        table: Labelled rows, as `load_examples` returns them.
        features: The features of the models.
        groups: The group of each row.
        threads: Threads of the prediction.
    """
    predicted = np.full(table.num_rows, np.nan)
    for group in np.unique(groups):
        is_held_out = groups == group
        others = table.filter(pa.array(~is_held_out))
        folds = splits.split_at_random(others.num_rows, CALIBRATION_FOLDS)
        model, _ = fit(others, features, folds, use_recency=False)
        held_out = table.filter(pa.array(is_held_out))
        predicted[is_held_out] = model.predict(held_out, threads=threads)
    return predicted


def _figures(
    predicted: FloatArray, rows: pa.Table, rows_train: int, *, lender_drift: float = 0.0
) -> dict[str, Any]:
    outcomes = rows["label"].to_numpy()
    figures = evaluate(predicted, outcomes).as_dict()
    rows_test = figures.pop("rows")
    lenders = pc.dictionary_encode(rows[LENDER].combine_chunks()).indices.to_numpy()
    within, without_drift = (
        count_groups_within_interval(
            predicted, outcomes, lenders, min_rows=FEWEST_ROWS_OF_A_LENDER, drift_variance=variance
        )
        for variance in (lender_drift, 0.0)
    )
    return (
        figures
        | estimate_intervals(predicted, outcomes)
        | {
            "rows_train": rows_train,
            "rows_test": rows_test,
            "lenders_within": within[0],
            "lenders_within_without_drift": without_drift[0],
            "lenders_checked": within[1],
            "lender_drift": lender_drift,
        }
    )
