"""A model on a labelled foreign file, through the steps of a day.

The file is imported by its mapping into a temporary home, ingested and turned into training pairs,
so the features are as of each lead's day.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import click

from models.params import Label, params
from models.training.dataset import load_examples
from pipelines.bench.benchmarks.leaks import check_source
from pipelines.bench.evaluate import Experiment, run_experiment
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    replace_home,
    show_progress,
    split_list,
    temporary_home,
)
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import sha256
from pipelines.core.settings import PROJECT, Settings
from pipelines.importing import import_file
from pipelines.ingest.ingest_day import ingest
from pipelines.transform.build import transform

PREPARED = "prepared.txt"
"""Written last into a cached home: the day whose marts hold the pairs."""
PREPARED_BY = (
    "dbt_project",
    "expectations/contracts",
    "expectations/mappings",
    "pipelines/importing",
    "pipelines/ingest",
    "pipelines/transform",
)
"""Folders that decide the training pairs of a file; the models are not among them."""
SUFFIXES = frozenset({".py", ".sql", ".yml"})


@click.command("models")
@click.option("--mapping", required=True, help="A name in expectations/mappings/.")
@click.option(
    "--file", required=True, type=click.Path(path_type=Path), help="A file of that mapping."
)
@click.option("--target", required=True, type=click.Choice(get_args(Label)), help="The label.")
@click.option("--time", metavar="COLUMN", help="Split the rows by it, such as business_date.")
@click.option("--split", metavar="VALUE", help="Predict rows from it on (else the last fifth).")
@click.option(
    "--unseen",
    metavar="COLUMN",
    help="Hold a fifth of its values out of training, such as of institution_id, and predict only "
    "their later rows.",
)
@click.option(
    "--with-late-outcomes",
    is_flag=True,
    help="With --time: count outcomes of rows before the split that were reported after it, for a "
    "file whose reporting times are invented.",
)
@click.option(
    "--retrain-every",
    type=int,
    metavar="DAYS",
    help="With --time business_date: fit another model on a rolling schedule.",
)
@click.option("--with-day", is_flag=True, help="Without --time: use the lead's day as a feature.")
@click.option("--folds", type=int, default=5, show_default=True, help="Without --time: folds.")
@click.option("--drop", default="", callback=split_list, help="Features to leave out, by comma.")
@click.pass_obj
def command(  # noqa: PLR0913
    settings: Settings,
    *,
    mapping: str,
    file: Path,
    target: Label,
    time: str | None,
    split: str | None,
    unseen: str | None,
    with_late_outcomes: bool,
    retrain_every: int | None,
    with_day: bool,
    folds: int,
    drop: tuple[str, ...],
) -> Figures:
    """Measure a model on a labelled foreign file, through the steps of a day."""
    experiment = Experiment(
        target,
        time,
        split,
        folds,
        frozenset(drop),
        unseen=unseen,
        with_late_outcomes=with_late_outcomes,
        retrain_every=retrain_every,
        with_day=with_day,
    )
    experiment.check()
    stopwatch = Stopwatch()
    with temporary_home(settings) as home:
        day = prepare_pairs(home, mapping, file)
        show_progress("models", f"measuring on the training pairs as of {day}")
        figures = run_experiment(home, day, experiment)
        show_progress("models", "checking for leaks")
        pairs = load_examples(home, day, target, as_of=day)
        leaks = check_source(home, pairs, experiment.features, mapping, file)
    return {
        "mapping": mapping,
        "file": file.name,
        "target": target,
        **figures,
        **leaks.as_figures(),
        "seconds": round(stopwatch.seconds, 1),
    }


def prepare_pairs(settings: Settings, mapping: str, file: Path) -> date:
    """Import `file` and run it up to its training pairs; return the day whose marts hold them.

    The day follows the last landed file by the days after which the newest decision counts.

    Raises:
        InputMissing: The mapping wrote no row of the file.
    """
    show_progress("models", f"importing {file.name}")
    import_file(settings, mapping, file)
    landed = [path.name for path in settings.landing.glob("*/*/*") if path.is_dir()]
    if not landed:
        raise InputMissing(
            f"Mapping {mapping} wrote no row of {file}. Nothing was measured. The reason for each "
            f"quarantined row: `python -m pipelines import {mapping} {file}`."
        )
    day = date.fromisoformat(max(landed)) + timedelta(days=params().decision_maturity_days + 1)
    show_progress("models", f"ingesting {len(landed):,} folders up to {day}")
    ingest(settings, day)
    show_progress("models", "transforming")
    transform(settings, day)
    return day


@contextmanager
def prepared_home(
    settings: Settings, cache: Path | None, mapping: str, file: Path
) -> Iterator[tuple[Settings, date, str]]:
    """Yield the home of a prepared file, the day of its marts, and `prepared` or `cached`.

    Args:
        settings: Settings of the work.
        cache: Folder of homes for further runs; a home is used while neither the file nor the code
            that prepares it has changed. None: a temporary home.
        mapping: The mapping of the file.
        file: The foreign file; files beside it are read with it.
    """
    if cache is None:
        with temporary_home(settings) as home:
            yield home, prepare_pairs(home, mapping, file), "prepared"
        return
    home = replace_home(settings, cache / f"{mapping}-{cache_key(file)}")
    marker = home.home / PREPARED
    if marker.is_file():
        yield home, date.fromisoformat(marker.read_text("utf-8")), "cached"
        return
    home.home.mkdir(parents=True, exist_ok=True)
    day = prepare_pairs(home, mapping, file)
    marker.write_text(f"{day}", "utf-8")
    yield home, day, "prepared"


def cache_key(file: Path) -> str:
    """Return a hash of the file, of the files beside it, and of the code that prepares it."""
    digest = hashlib.sha256()
    sources = [path for name in PREPARED_BY for path in sorted((PROJECT / name).rglob("*"))]
    for path in sources:
        if path.suffix in SUFFIXES and "target" not in path.parts:
            digest.update(path.relative_to(PROJECT).as_posix().encode() + path.read_bytes())
    beside = sorted(file.parent.glob("*.parquet"))
    for path in [file, *(other for other in beside if other != file)]:
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    return digest.hexdigest()[:12]
