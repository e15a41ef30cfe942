"""Measure a model on a labelled foreign file, through the same steps as a day's.

The file is imported by its mapping into a home of its own, ingested and turned into training
pairs; so the model sees what it would have seen, features as of each lead's day included.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

from models.params import Label, params
from models.training.dataset import examples
from pipelines.bench.evaluate import measure
from pipelines.bench.experiment import Question
from pipelines.bench.fixtures.home import own_home
from pipelines.bench.source_leaks import look
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.importing import import_file
from pipelines.ingest import ingest
from pipelines.transform.build import transform


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return the figures of the benchmark that `options` ask for, as contracts.md names them.

    Raises:
        BanyanError: The file, the mapping or the question cannot be answered; says why.
    """
    asked = _parser().parse_args(options)
    question = Question(
        asked.target,
        asked.time,
        asked.split,
        asked.folds,
        frozenset(filter(None, asked.drop)),
        unseen=asked.unseen,
        knows_all=asked.knows_all,
        anew=asked.anew,
        with_day=asked.with_day,
    )
    question.check()
    began = time.perf_counter()
    with own_home(settings) as home:
        day = build(home, asked.mapping, asked.file)
        _say(f"training pairs stand as of {day}; measuring")
        figures = measure(home, day, question)
        _say("looking for leaks")
        pairs = examples(home, day, question.target, as_of=day)
        found = look(home, pairs, question.features, asked.mapping, asked.file)
    return {
        "mapping": asked.mapping,
        "file": asked.file.name,
        "target": asked.target,
        **figures,
        **found.as_figures(),
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench models", description=__doc__)
    parser.add_argument("--mapping", required=True, help="a name in expectations/mappings/")
    parser.add_argument("--file", required=True, type=Path)
    parser.add_argument("--target", required=True, choices=get_args(Label))
    parser.add_argument("--time", metavar="COLUMN", help="split rows by it, such as business_date")
    parser.add_argument(
        "--split", metavar="VALUE", help="rows from it on are predicted (else the last fifth)"
    )
    parser.add_argument(
        "--unseen",
        metavar="COLUMN",
        help="keep a fifth of its values out of training, such as of institution_id, and predict "
        "the later rows of those alone",
    )
    parser.add_argument(
        "--knows-all",
        action="store_true",
        help="with --time: what happened to the rows before the split counts even where it was "
        "told after it, for a file whose times of telling are invented",
    )
    parser.add_argument(
        "--anew",
        type=int,
        metavar="DAYS",
        help="with --time business_date: after so many days another model, of what is known then",
    )
    parser.add_argument(
        "--with-day", action="store_true", help="without --time: also look at the lead's day"
    )
    parser.add_argument("--folds", type=int, default=5, help="without --time: random folds")
    parser.add_argument(
        "--drop", type=lambda text: text.split(","), default=[], help="columns not to look at"
    )
    return parser


def _say(words: str) -> None:
    """Tell whoever watches a terminal what is being done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"bench models: {words}\n")
