"""Fidelity of reason codes, and the speed at which they are computed.

With `--date` the models of a home are measured; with `--mapping` and `--file` a model trained on a
foreign file, imported as by `bench models`.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import click
import lightgbm
import numpy as np
import pyarrow as pa

from models import model_set, train_models
from models.explanations.fidelity import measure_fidelity
from models.explanations.reasons import Explainer
from models.params import params
from models.scoring.estimators import TrainedModel
from models.training.dataset import load_examples
from pipelines.bench.benchmarks.models import prepare_pairs
from pipelines.bench.shell import Figures, Stopwatch, count_option, temporary_home
from pipelines.core.arrays import spread_evenly
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.settings import Settings


@click.command("reasons")
@click.option("--date", "day", help="Business date whose models are measured.")
@click.option("--mapping", help="A name in expectations/mappings/.")
@click.option("--file", type=click.Path(path_type=Path), help="A file of that mapping.")
@click.option(
    "--model",
    type=click.Choice(sorted(params().models)),
    default="approval",
    help="The model whose reasons are measured.",
)
@count_option("--rows", 1_000, "Rows whose reasons are tested.")
@click.pass_obj
def command(
    settings: Settings,
    *,
    day: str | None,
    mapping: str | None,
    file: Path | None,
    model: str,
    rows: int,
) -> Figures:
    """Measure the fidelity of one model's reasons, and their speed."""
    if day is not None and mapping is None and file is None:
        return measure_reasons(settings, date.fromisoformat(day), model, rows)
    if day is not None or mapping is None or file is None:
        raise UsageError("Give either --date, or --mapping and --file. Nothing was measured.")
    with temporary_home(settings) as home:
        last = prepare_pairs(home, mapping, file)
        train_models.train(home, last, as_of=last)
        return measure_reasons(home, last, model, rows)


def measure_reasons(settings: Settings, day: date, name: str, count: int) -> Figures:
    """Return fidelity and speed of the reasons of the model `name` that scores `day`.

    Raises:
        InputMissing: The model is a stated prior, which has no reasons.
    """
    explainer = model_set.load(settings, day).explainer(name)
    model = explainer.estimator
    if not isinstance(model, TrainedModel):
        raise InputMissing(
            f"The {name} model that scores {day} is a stated prior: too few outcomes were known to "
            "train one, so it has no reasons to test. Take a later date."
        )
    label = params().models[name].label
    table = load_examples(settings, day, label, as_of=day)
    rows = spread_evenly(table.num_rows, count)
    sample = table.take(pa.array(rows))
    unconfirmed = measure_fidelity(replace(explainer, requires_confirmation=False), sample)
    return {
        "model": name,
        "day": f"{day}",
        "features": len(model.features),
        **measure_fidelity(explainer, sample).as_dict(),
        "by_contributions_only": unconfirmed.as_dict(),
        **_measure_speed(explainer, model, sample),
    }


def _measure_speed(explainer: Explainer, model: TrainedModel, sample: pa.Table) -> Figures:
    """Return rows a second: explanations, contributions, and contributions by LightGBM itself."""
    booster = lightgbm.Booster(model_str=model.trees)
    matrix = model.encoder.encode(sample)
    model.contributions(sample, threads=1)
    booster.predict(matrix[:1], pred_contrib=True, num_threads=1)
    rows = sample.num_rows
    stopwatch = Stopwatch()
    explainer.explain(sample)
    explained = stopwatch.processor_seconds
    ours = model.contributions(sample, threads=1)
    computed = stopwatch.processor_seconds
    theirs = booster.predict(matrix, pred_contrib=True, num_threads=1)
    peer = stopwatch.processor_seconds
    return {
        "trees": booster.num_trees(),
        "explained_per_second": round(rows / explained),
        "contributions_per_second": round(rows / (computed - explained)),
        "peers": {"lightgbm": {"contributions_per_second": round(rows / (peer - computed))}},
        "max_difference": float(np.abs(np.asarray(theirs)[:, :-1] - ours).max()),
    }
