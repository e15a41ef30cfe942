"""Measure a model on a labelled foreign file, through the same steps as a day's.

The file is imported by its mapping into a home of its own, ingested and turned into training
pairs; so the model sees what it would have seen, features as of each lead's day included.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import splits
from models.dataset import examples
from models.errors import TooFewRows, UnknownFeature
from models.evaluate import evaluate
from models.fitting import TooLittle, fit
from models.params import Features, Label, params
from pipelines.errors import InputMissing, WrongUse
from pipelines.importing import import_file
from pipelines.ingest import ingest
from pipelines.settings import Settings
from pipelines.transform import transform

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


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return the figures of the benchmark that `options` ask for, as contracts.md names them.

    Raises:
        BanyanError: The file, the mapping or the question cannot be answered; says why.
    """
    asked = _parser().parse_args(options)
    question = Question(
        asked.target, asked.time, asked.split, asked.folds, frozenset(filter(None, asked.drop))
    )
    _check(question)
    began = time.perf_counter()
    with _own_home(settings) as home:
        day = build(home, asked.mapping, asked.file)
        _say(f"training pairs stand as of {day}; measuring")
        figures = measure(home, day, question)
    return {
        "mapping": asked.mapping,
        "file": asked.file.name,
        "target": asked.target,
        **figures,
        "seconds": round(time.perf_counter() - began, 1),
    }


def build(settings: Settings, mapping: str, file: Path) -> date:
    """Import `file` and run it up to its training pairs; return the day whose marts hold them.

    That is as many days after the last landed file as the newest decision waits to be counted.
    """
    _say(f"importing {file.name}")
    import_file(settings, mapping, file)
    landed = [path.name for path in settings.landing.glob("*/*/*") if path.is_dir()]
    if not landed:
        raise InputMissing(
            f"mapping {mapping} wrote no row of {file}; nothing was measured. What was set aside, "
            f"and why: `python -m pipelines import {mapping} {file}`."
        )
    day = date.fromisoformat(max(landed)) + timedelta(days=params().decision_maturity_days + 1)
    _say(f"ingesting {len(landed):,} folders up to {day}")
    ingest(settings, day)
    _say("transforming")
    transform(settings, day)
    return day


def measure(settings: Settings, day: date, question: Question) -> dict[str, Any]:
    """Return the figures of `question` on the training pairs in the marts of `day`."""
    table = examples(settings, day, question.target, as_of=day)
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
    later = pc.fill_null(pc.greater_equal(values, split), fill_value=False)
    if question.time == LEAD_DAY:
        before = examples(settings, day, question.target, as_of=split.as_py())
    else:
        before = table.filter(pc.less(values, split))
    model, _ = fit(before, question.features, splits.in_time(before))
    after = table.filter(later)
    predicted = model.predict(after, threads=settings.threads)
    return _figures(predicted, after["label"].to_numpy(), before.num_rows)


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
    return _figures(predicted, table["label"].to_numpy(), rows_train)


def _figures(
    predicted: np.ndarray[Any, Any], happened: np.ndarray[Any, Any], rows_train: int
) -> dict[str, Any]:
    figures = evaluate(predicted, happened).as_dict()
    rows_test = figures.pop("rows")
    # No leak check yet: nothing was looked for, which isn't the same as nothing found.
    return figures | {"rows_train": rows_train, "rows_test": rows_test, "leaks": None}


@contextmanager
def _own_home(settings: Settings) -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="banyan-bench-") as folder:
        yield Settings(**(settings.model_dump() | {"home": Path(folder)}))


def _check(question: Question) -> None:
    if (question.time is None) != (question.split is None):
        raise WrongUse("--time and --split belong together. Nothing was measured.")
    if question.folds < FEWEST_FOLDS:
        raise WrongUse(
            f"--folds is {question.folds}; it is at least {FEWEST_FOLDS}. Nothing was measured."
        )
    _ = question.features


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench models", description=__doc__)
    parser.add_argument("--mapping", required=True, help="a name in expectations/mappings/")
    parser.add_argument("--file", required=True, type=Path)
    parser.add_argument("--target", required=True, choices=get_args(Label))
    parser.add_argument("--time", metavar="COLUMN", help="split rows by it, such as business_date")
    parser.add_argument("--split", metavar="VALUE", help="rows from it on are predicted")
    parser.add_argument("--folds", type=int, default=5, help="without --time: random folds")
    parser.add_argument(
        "--drop", type=lambda text: text.split(","), default=[], help="columns not to look at"
    )
    return parser


def _say(words: str) -> None:
    """Tell whoever watches a terminal what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"bench models: {words}\n")
