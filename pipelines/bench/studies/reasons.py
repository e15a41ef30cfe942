"""Measure whether reasons tell the truth, and how fast they are named.

Without a file it asks the models of a home that stands, with one those of a foreign file, which is
imported and learned from as `bench models` does.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa

from models import model_set, train_models
from models.explanations.fidelity import measure_fidelity
from models.explanations.reasons import Explainer
from models.params import params
from models.scoring.estimators import Trained
from models.training.dataset import examples
from pipelines.bench.benchmarks.models import build
from pipelines.bench.fixtures.home import own_home
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.settings import Settings


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return the fidelity of the reasons of one model, and the speed of naming them.

    Raises:
        BanyanError: There is no trained model to ask, or the file cannot be read; says which.
    """
    asked = _parser().parse_args(options)
    if (asked.mapping is None) != (asked.file is None) or (asked.file is None) == (
        asked.date is None
    ):
        raise UsageError("give either --date, or --mapping and --file. Nothing was measured.")
    if asked.file is None:
        return _measured(settings, asked.date, asked)
    with own_home(settings) as home:
        day = build(home, asked.mapping, asked.file)
        train_models.train(home, day, as_of=day)
        return _measured(home, day, asked)


def _measured(settings: Settings, day: date, asked: argparse.Namespace) -> dict[str, Any]:
    explainer = model_set.load(settings, day).explainer(asked.model)
    model = explainer.estimator
    if not isinstance(model, Trained):
        raise InputMissing(
            f"the {asked.model} model that scores {day} is a stated prior: too little was known to "
            "train one, so there are no reasons to be tried. Take a later date."
        )
    label = params().models[asked.model].label
    rows = examples(settings, day, label, as_of=day)
    places = np.unique(np.linspace(0, rows.num_rows - 1, asked.rows).astype(np.int64))
    some = rows.take(pa.array(places))
    alone = measure_fidelity(replace(explainer, requires_confirmation=False), some)
    return {
        "model": asked.model,
        "day": f"{day}",
        "features": len(model.features),
        **measure_fidelity(explainer, some).as_dict(),
        "by_contributions_alone": alone.as_dict(),
        **_speed(explainer, model, some),
    }


def _speed(explainer: Explainer, model: Trained, some: pa.Table) -> dict[str, Any]:
    """Return rows a second: explained, their contributions, and the same by LightGBM itself."""
    booster = lightgbm.Booster(model_str=model.trees)
    matrix = model.encoder.matrix(some)
    model.contributions(some, threads=1)
    booster.predict(matrix[:1], pred_contrib=True, num_threads=1)
    began = time.process_time()
    explainer.explain(some)
    explained = time.process_time()
    ours = model.contributions(some, threads=1)
    ended = time.process_time()
    theirs = booster.predict(matrix, pred_contrib=True, num_threads=1)
    peer = time.process_time()
    return {
        "trees": booster.num_trees(),
        "explained_per_second": round(some.num_rows / (explained - began)),
        "contributions_per_second": round(some.num_rows / (ended - explained)),
        "peers": {"lightgbm": {"contributions_per_second": round(some.num_rows / (peer - ended))}},
        "max_difference": float(np.abs(np.asarray(theirs)[:, :-1] - ours).max()),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench reasons", description=__doc__)
    parser.add_argument("--date", type=date.fromisoformat, help="whose models are asked")
    parser.add_argument("--mapping", help="a name in expectations/mappings/")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--model", choices=sorted(params().models), default="approval")
    parser.add_argument("--rows", type=int, default=1000, help="rows whose reasons are tried")
    return parser
