"""What a benchmark of models asks, and how it is answered on training pairs that stand."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import splits
from models.dataset import examples
from models.errors import TooFewRows, UnknownFeature
from models.evaluate import evaluate
from models.fitting import TooLittle, fit
from models.params import Features, Label, params
from pipelines.errors import WrongUse
from pipelines.settings import Settings

LEAD_DAY = "business_date"
FEWEST_FOLDS = 2
CALIBRATION_FOLDS = 3
MODELS: dict[Label, str] = {
    "approved": "approval",
    "funded": "take_up",
    "defaulted": "risk",
    "charged_off": "risk",
}
"""Target -> the model whose features are used."""

CLOSED_BOOK: Label = "charged_off"
"""How loans ended is known years later: by any split only the quickest failures were. So on a
closed book a split tells apart the lending of two times, and every ending counts; `labels_known`
in the figures says so. For the other targets what was not known by the split doesn't count."""


@dataclass(frozen=True)
class Question:
    """What is to be measured: which label, on which rows, without which columns."""

    target: Label
    time: str | None = None
    """Column that splits the rows; None: at random, by folds."""
    split: str | None = None
    """Rows below it are learned from, the others are predicted."""
    folds: int = 5
    drop: frozenset[str] = frozenset()

    @property
    def features(self) -> Features:
        """The features of the target's model, without the dropped ones."""
        known = params().features_of(MODELS[self.target])
        if unknown := sorted(self.drop - set(known.names)):
            raise UnknownFeature(unknown, known.names)
        return known.without(self.drop)

    def check(self) -> None:
        """Refuse, before any work, what cannot be answered.

        Raises:
            WrongUse: Options that don't go together.
            UnknownFeature: A column to drop is none of the model's.
        """
        if (self.time is None) != (self.split is None):
            raise WrongUse("--time and --split belong together. Nothing was measured.")
        if self.folds < FEWEST_FOLDS:
            raise WrongUse(
                f"--folds is {self.folds}; it is at least {FEWEST_FOLDS}. Nothing was measured."
            )
        _ = self.features


def measure(settings: Settings, day: date, question: Question) -> dict[str, Any]:
    """Return the figures of `question` on the training pairs in the marts of `day`."""
    table = examples(settings, day, question.target, as_of=day)
    if question.target == CLOSED_BOOK:
        known = table.column_names.index("label_known_on")
        table = table.set_column(known, "label_known_on", table[LEAD_DAY])
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
    if question.time not in table.column_names:
        raise WrongUse(f"no column is named {question.time}; there are: {table.column_names}")
    values = table[question.time]
    try:
        split = pa.scalar(question.split).cast(values.type)
    except pa.ArrowInvalid:
        raise WrongUse(
            f"{question.split!r} is no {values.type} as {question.time} is; nothing was measured"
        ) from None
    is_as_of_split = question.time == LEAD_DAY and question.target != CLOSED_BOOK
    if is_as_of_split:
        before = examples(settings, day, question.target, as_of=split.as_py())
    else:
        before = table.filter(pc.less(values, split))
    model, _ = fit(before, question.features, splits.in_time(before))
    after = table.filter(pc.greater_equal(values, split))
    predicted = model.predict(after, threads=settings.threads)
    figures = _figures(predicted, after["label"].to_numpy(), before.num_rows)
    return figures | {"labels_known": "by the split" if is_as_of_split else "at the end"}


def _across_folds(settings: Settings, table: pa.Table, question: Question) -> dict[str, Any]:
    """Predict each random fold by a model of the others."""
    predicted = np.full(table.num_rows, np.nan)
    for fold in splits.at_random(table.num_rows, question.folds):
        others = table.filter(pa.array(fold.fit))
        model, _ = fit(
            others, question.features, splits.at_random(others.num_rows, CALIBRATION_FOLDS)
        )
        held_out = table.filter(pa.array(fold.check))
        predicted[fold.check] = model.predict(held_out, threads=settings.threads)
    rows_train = table.num_rows - table.num_rows // question.folds
    figures = _figures(predicted, table["label"].to_numpy(), rows_train)
    return figures | {"labels_known": "at the end"}


def _figures(
    predicted: np.ndarray[Any, Any], happened: np.ndarray[Any, Any], rows_train: int
) -> dict[str, Any]:
    figures = evaluate(predicted, happened).as_dict()
    rows_test = figures.pop("rows")
    return figures | {"rows_train": rows_train, "rows_test": rows_test}
