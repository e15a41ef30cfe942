"""Scoring of pairs by the models of a simulated market, compared with other predictors of trees."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models import model_set as score
from models.scoring.estimators import TrainedModel
from models.train_models import train
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    peak_memory_mb,
    run_in_new_process,
    seed_option,
    temporary_home,
)
from pipelines.core.arrays import FloatArray
from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.ingest.ingest_day import ingest
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.scoring import load_pair_features, score_leads
from pipelines.simulate import SimulationPlan, simulate
from pipelines.transform.build import transform

START = date(2026, 1, 5)
INSTITUTIONS, CHANNELS = 60, 20
PAIRS = """
    select lead_row, product_row from leads join products using (segment, currency)
    where amount between amount_min and amount_max
"""

Scorer = Literal["banyan", "lightgbm", "pylignum"]
PEERS: dict[Scorer, str] = {"lightgbm": "lightgbm", "pylignum": "lignum"}
"""Peer -> its module; one that is not installed is not measured."""


@click.command("score")
@count_option("--pairs", 5_000_000, "Pairs to score.")
@count_option("--days", 30, "Days of the market.")
@count_option("--leads-per-day", 2_000, "Leads of each day.")
@seed_option
@click.pass_obj
def command(settings: Settings, *, pairs: int, days: int, leads_per_day: int, seed: int) -> Figures:
    """Measure scoring, from an Arrow table to calibrated probabilities.

    The pairs are from the last day of a simulated market whose segment, currency and amount
    match, repeated up to the number asked for. Each scorer has a process of its own and as many
    threads as the settings give. The figures are the ones of `measure_scorer`, the same of LightGBM
    under `peers.lightgbm`, `ratio` of their seconds, `ratio_to_predict` (to `Booster.predict`
    without feature matrix and calibration), and `max_difference` of any two probabilities. With
    `pip install pylignum` that library is a peer, too.
    """
    with temporary_home(settings) as home:
        day = _train_market(home, days, leads_per_day, seed)
        file = home.home / "pairs.parquet"
        distinct = _write_pairs(home, day, file)
        ours, probabilities = score_in_new_process(home, day, file, pairs, "banyan")
        measured = {
            peer: score_in_new_process(home, day, file, pairs, peer)
            for peer, module in PEERS.items()
            if find_spec(module)
        }
    peers = {name: figures for name, (figures, _) in measured.items()}
    return {
        "pairs": pairs,
        "distinct_pairs": distinct,
        "threads": settings.threads,
        **ours,
        "peers": peers,
        "ratio": round(ours["seconds"] / peers["lightgbm"]["seconds"], 3),
        "ratio_to_predict": round(ours["seconds"] / peers["lightgbm"]["predict_seconds"], 3),
        "max_difference": max(
            float(np.abs(probabilities - expected).max()) for _, expected in measured.values()
        ),
    }


def _train_market(settings: Settings, days: int, leads: int, seed: int) -> date:
    """Simulate a market up to its trained models; return its last day."""
    day = START + timedelta(days=days - 1)
    simulate(
        settings, SimulationPlan(START, days, leads, INSTITUTIONS, CHANNELS, seed, corruption=0)
    )
    ingest(settings, day)
    transform(settings, day)
    train(settings, day)
    return day


def _write_pairs(settings: Settings, day: date, path: Path) -> int:
    """Write the features of the day's pairs; return the number of pairs."""
    marts, model_set = settings.day_folder(settings.marts, day), score.load(settings, day)
    with connect(settings) as connection:
        load_leads(connection, marts)
        score_leads(connection, model_set)
        load_products(connection, marts, day)
        pairs = load_pair_features(connection, PAIRS).drop_columns(["pd"])
    pq.write_table(pairs, path)
    return int(pairs.num_rows)


@dataclass(frozen=True)
class PeerModel(TrainedModel):
    """A model whose trees another library predicts, on its own threads."""

    peer: Scorer = "lightgbm"
    peer_threads: int = 1
    predict_seconds: list[float] = field(default_factory=list)
    """Seconds of each call of the library, without feature matrix and calibration."""

    @classmethod
    def from_trained(cls, model: TrainedModel, peer: Scorer, threads: int) -> "PeerModel":
        """Return `model` with its trees predicted by the library."""
        parts = {part.name: getattr(model, part.name) for part in fields(TrainedModel)}
        return cls(**parts, peer=peer, peer_threads=threads)

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002
        """Return calibrated probabilities; `threads` is not used."""
        matrix, predict = self.encoder.encode(table), self._load_peer()
        stopwatch = Stopwatch()
        raw = np.asarray(predict(matrix)).ravel()
        self.predict_seconds.append(stopwatch.seconds)
        return self.calibration(raw)

    def _load_peer(self) -> Callable[[FloatArray], Any]:
        if self.peer == "lightgbm":
            return partial(self._booster.predict, num_threads=self.peer_threads)
        from lignum import load  # noqa: PLC0415 - no requirement: compared if it is installed

        with NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(self.trees)
            file.flush()
            return partial(load(file.name).predict, n_jobs=self.peer_threads)


def score_in_new_process(
    settings: Settings, day: date, pairs: Path, count: int, scorer: Scorer
) -> tuple[Figures, FloatArray]:
    """Return the figures of `measure_scorer`, and the probabilities."""
    scores = pairs.with_name(f"{scorer}.npy")
    figures = run_in_new_process(measure_scorer, settings, day, pairs, count, scorer, scores)
    return figures, np.load(scores)


def measure_scorer(
    settings: Settings, day: date, pairs: Path, count: int, scorer: Scorer, scores: Path
) -> Figures:
    """Score the rows of the table `pairs`, repeated up to `count` rows.

    Returns:
        `seconds` from the models' text to the last calibrated probability, and `processor_seconds`
        of all threads (LightGBM's threads also spin while they wait); `peak_mb` of the process;
        `trees` by model; of a peer also `predict_seconds`, the part of its library.
    """
    once = pq.read_table(pairs)
    table = pa.concat_tables([once] * -(-count // once.num_rows)).slice(0, count)
    model_set = score.load(settings, day)
    trained = {n: m for n, m in model_set.estimators.items() if isinstance(m, TrainedModel)}
    peers: dict[str, PeerModel] = {}
    if scorer != "banyan":
        peers = {
            name: PeerModel.from_trained(model, scorer, settings.threads)
            for name, model in trained.items()
        }
        model_set = replace(model_set, estimators=model_set.estimators | peers, threads=1)
    stopwatch = Stopwatch()
    scored = model_set.score(table)
    figures = stopwatch.figures()
    if peers:
        seconds = sum(sum(peer.predict_seconds) for peer in peers.values())
        figures["predict_seconds"] = round(seconds, 2)
    np.save(scores, np.stack([scored[name].to_numpy() for name in score.OUTPUTS.values()]))
    trees = {name: model.trees.count("\nTree=") for name, model in trained.items()}
    return figures | {"peak_mb": peak_memory_mb(), "trees": trees}
