"""Score a table by the models as they are, or with LightGBM predicting their trees, and time it."""

import multiprocessing
import resource
import time
from dataclasses import dataclass, field, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models import model_set as score
from models.scoring.estimators import Trained
from pipelines.core.arrays import FloatArray
from pipelines.core.settings import Settings

KIB = 1024
"""Bytes in the unit in which Linux tells the most memory that was taken."""

Scorer = Literal["banyan", "lightgbm"]


@dataclass(frozen=True)
class ByLightGBM(Trained):
    """A model whose trees LightGBM predicts, on threads of its own."""

    lightgbm_threads: int = 1
    predicting: list[float] = field(default_factory=list)
    """Seconds of each call of `Booster.predict`."""

    def predict(self, table: pa.Table, *, threads: int) -> FloatArray:  # noqa: ARG002
        """Return calibrated probabilities, whatever else the day's `threads` are for."""
        matrix, booster = self.encoder.matrix(table), self._booster
        began = time.perf_counter()
        raw = np.asarray(booster.predict(matrix, num_threads=self.lightgbm_threads))
        self.predicting.append(time.perf_counter() - began)
        return self.calibration(raw)


def by_lightgbm(model: Trained, threads: int) -> ByLightGBM:
    """Return `model` with its trees predicted by LightGBM on so many threads."""
    parts = {part.name: getattr(model, part.name) for part in fields(Trained)}
    return ByLightGBM(**parts, lightgbm_threads=threads)


def in_own_process(
    settings: Settings, day: date, pairs: Path, count: int, scorer: Scorer
) -> tuple[dict[str, Any], FloatArray]:
    """Return what scoring took by `scorer`, as `measure` tells it, and the probabilities."""
    scores = pairs.with_name(f"{scorer}.npy")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        figures = pool.apply(measure, (settings, day, pairs, count, scorer, scores))
    return figures, np.load(scores)


def measure(
    settings: Settings, day: date, pairs: Path, count: int, scorer: Scorer, scores: Path
) -> dict[str, Any]:
    """Score the first `count` rows of the table `pairs`, over and over until there are so many.

    Returns:
        `seconds` from the models' text to the last calibrated probability, and as
        `processor_seconds` what all threads together worked in them (or waited spinning, as
        LightGBM's do); `peak_mb` of the whole process; `trees` by model; of LightGBM also
        `predict_seconds`, the part of `seconds` that is `Booster.predict`.
    """
    once = pq.read_table(pairs)
    table = pa.concat_tables([once] * -(-count // once.num_rows)).slice(0, count)
    model_set = score.load(settings, day)
    trained = {n: m for n, m in model_set.estimators.items() if isinstance(m, Trained)}
    peers = {name: by_lightgbm(model, settings.threads) for name, model in trained.items()}
    if scorer == "lightgbm":
        model_set = replace(model_set, estimators=model_set.estimators | peers, threads=1)
    began, worked = time.perf_counter(), time.process_time()
    scored = model_set.score(table)
    figures: dict[str, Any] = {
        "seconds": round(time.perf_counter() - began, 2),
        "processor_seconds": round(time.process_time() - worked, 2),
    }
    if scorer == "lightgbm":
        predicting = sum(sum(peer.predicting) for peer in peers.values())
        figures["predict_seconds"] = round(predicting, 2)
    np.save(scores, np.stack([scored[name].to_numpy() for name in score.OUTPUTS.values()]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1_000_000
    trees = {name: model.trees.count("\nTree=") for name, model in trained.items()}
    return figures | {"peak_mb": round(peak), "trees": trees}
