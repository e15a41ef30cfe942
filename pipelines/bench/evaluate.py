"""How a question about models is answered, on training pairs that stand."""

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import TooFewRows
from models.features.encoder import of_a_new_lender
from models.params import Features
from models.training.dataset import examples
from models.training.fit_model import TooLittle, fit
from models.validation import splits
from models.validation.metrics import evaluate, spread, within_by_group
from pipelines.bench.experiment import CLOSED_BOOK, DAY_AS_NUMBER, LEAD_DAY, Question
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings

LENDER = "institution_id"
CALIBRATION_FOLDS = 3
LAST_SHARE = 0.2
"""Of the rows, by time, that are predicted where no split is named."""
UNSEEN_SHARE = 0.2
"""Of the values of the column whose rows are held out."""
FEWEST_ROWS_OF_A_LENDER = 100
"""From which on a lender's calibration is checked."""


def measure(settings: Settings, day: date, question: Question) -> dict[str, Any]:
    """Return the figures of `question` on the training pairs in the marts of `day`.

    Returns:
        What `models.validation.metrics.Figures` names but `rows`, and what `spread` does; `rows_train`,
        `rows_test`;
        `lenders_checked`, those with 100 or more rows predicted, and of them `lenders_within`
        (see `within_by_group`), where they may move as far as others did while the model was
        checked (`lenders_move`, a variance of log-odds), and `lenders_within_unmoved`, where not at
        all, as across folds; `labels_known`, by the split or at the end. By time also `split`, and
        `models`, how many were made one after the other.
    """
    is_closed = question.target == CLOSED_BOOK
    table = (
        closed_book(settings, day)
        if is_closed
        else examples(settings, day, question.target, as_of=day)
    )
    if question.with_day:
        days = pc.cast(table[LEAD_DAY], pa.int32())
        table = table.append_column(DAY_AS_NUMBER, days)
    try:
        if question.time is None:
            return _across_folds(settings, table, question)
        return _across_time(settings, day, table, question)
    except TooLittle as reason:
        raise TooFewRows(question.target, reason) from None


def _across_time(
    settings: Settings, day: date, table: pa.Table, question: Question
) -> dict[str, Any]:
    """Learn from the rows before the split, calibrated on the newest of them; predict the rest."""
    for name in filter(None, (question.time, question.unseen)):
        if name not in table.column_names:
            raise UsageError(f"no column is named {name}; there are: {table.column_names}")
    split = _split(question, table[question.time])
    asked, predicted, moved = [], [], []
    for start, stretch in _stretches(question, split, table):
        if question.is_as_of_split:
            before = examples(settings, day, question.target, as_of=start.as_py())
        else:
            before = table.filter(pc.less(table[question.time], start))
        rows = stretch
        if question.unseen is not None:
            before = before.filter(pa.array(~_held_out(before[question.unseen])))
            rows = stretch.filter(pa.array(_held_out(stretch[question.unseen])))
        model, facts = fit(before, question.features, splits.in_time(before))
        asked.append(rows)
        seen = of_a_new_lender(rows) if question.unseen == LENDER else rows
        predicted.append(model.predict(seen, threads=settings.threads))
        moved.append(facts["lenders_move"])
    figures = _figures(
        np.asarray(np.concatenate(predicted)),
        pa.concat_tables(asked),
        before.num_rows,
        moved=moved[0],  # later ones have seen outcomes that are judged
    )
    return figures | {
        "split": f"{split}",
        "labels_known": "by the split" if question.is_as_of_split else "at the end",
        "models": len(predicted),
    }


def _stretches(
    question: Question, split: pa.Scalar, table: pa.Table
) -> Iterator[tuple[pa.Scalar, pa.Table]]:
    """Yield the start of each stretch that one model predicts, and its rows, from the split on."""
    values = table[question.time]
    if question.anew is None:
        yield split, table.filter(pc.greater_equal(values, split))
        return
    start, last = split.as_py(), pc.max(values).as_py()
    while start <= last:
        end = start + timedelta(days=question.anew)
        inside = table.filter(pc.and_(pc.greater_equal(values, start), pc.less(values, end)))
        if inside.num_rows:
            yield pa.scalar(start), inside
        start = end


def _split(question: Question, values: pa.ChunkedArray) -> pa.Scalar:
    """Return the value from which on rows are predicted."""
    if question.split is None:
        ordered = values.take(pc.sort_indices(values))
        return ordered[int((1 - LAST_SHARE) * len(ordered))]
    try:
        return pa.scalar(question.split).cast(values.type)
    except pa.ArrowInvalid:
        raise UsageError(
            f"{question.split!r} is no {values.type} as {question.time} is; nothing was measured"
        ) from None


def _held_out(column: pa.ChunkedArray) -> BoolArray:
    """Return which rows hold a value that is kept out of training: by its hash, so always."""
    encoded = pc.dictionary_encode(column.combine_chunks().cast(pa.string()))
    digests = [hashlib.sha256(f"{v}".encode()).digest() for v in encoded.dictionary.to_pylist()]
    held = np.array([digest[0] < UNSEEN_SHARE * 256 for digest in digests], dtype=bool)
    places = pc.fill_null(encoded.indices, -1).to_numpy()
    return np.asarray((places >= 0) & held[places])


def _across_folds(settings: Settings, table: pa.Table, question: Question) -> dict[str, Any]:
    """Predict each random fold by a model of the others."""
    part = np.zeros(table.num_rows, dtype=np.int64)
    for number, fold in enumerate(splits.at_random(table.num_rows, question.folds)):
        part[fold.check] = number
    predicted = part_by_part(table, question.features, part, threads=settings.threads)
    rows_train = table.num_rows - table.num_rows // question.folds
    return _figures(predicted, table, rows_train) | {"labels_known": "at the end"}


def part_by_part(
    table: pa.Table, features: Features, part: IntArray, *, threads: int
) -> FloatArray:
    """Return what a model of all other parts says of the rows of each part.

    Args:
        table: Labelled rows, as `examples` returns them.
        features: What the models look at.
        part: Of each row, the number of its part.
        threads: Of the prediction.
    """
    predicted = np.full(table.num_rows, np.nan)
    for number in np.unique(part):
        held_out = part == number
        others = table.filter(pa.array(~held_out))
        parts = splits.at_random(others.num_rows, CALIBRATION_FOLDS)
        model, _ = fit(others, features, parts, forgets=False)
        predicted[held_out] = model.predict(table.filter(pa.array(held_out)), threads=threads)
    return predicted


def closed_book(settings: Settings, day: date) -> pa.Table:
    """Return all loans of a closed book; each counts as known on its lead's day (`CLOSED_BOOK`)."""
    table = examples(settings, day, CLOSED_BOOK, as_of=day)
    known = table.column_names.index("label_known_on")
    return table.set_column(known, "label_known_on", table[LEAD_DAY])


def _figures(
    predicted: FloatArray, rows: pa.Table, rows_train: int, *, moved: float = 0.0
) -> dict[str, Any]:
    """Return the figures of what was `predicted` of `rows`, whose lenders may have `moved`."""
    happened = rows["label"].to_numpy()
    figures = evaluate(predicted, happened).as_dict()
    rows_test = figures.pop("rows")
    lenders = pc.dictionary_encode(rows[LENDER].combine_chunks()).indices.to_numpy()
    within, still = (
        within_by_group(predicted, happened, lenders, least=FEWEST_ROWS_OF_A_LENDER, moved=variance)
        for variance in (moved, 0.0)
    )
    return (
        figures
        | spread(predicted, happened)
        | {
            "rows_train": rows_train,
            "rows_test": rows_test,
            "lenders_within": within[0],
            "lenders_within_unmoved": still[0],
            "lenders_checked": within[1],
            "lenders_move": moved,
        }
    )
