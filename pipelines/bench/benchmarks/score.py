"""Measure how long the models of a simulated market take to score pairs, beside LightGBM itself."""

import argparse
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from models import model_set as score
from models.train_models import train
from pipelines.bench.benchmarks.score_peers import in_own_process
from pipelines.bench.fixtures.home import own_home
from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.settings import Settings
from pipelines.ingest import ingest
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


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return what scoring `--pairs` pairs took, from Arrow table to calibrated probabilities.

    The pairs are those of the last day of a simulated market whose segment, currency and amount
    fit, over and over until there are so many; the models are those that score this day. Each
    scorer has a process of its own and as many threads as the settings say.

    Returns:
        `pairs`, `different_pairs`, `threads`, what `scorers.measure` tells of the models as they
        are, the same of LightGBM under `peers.lightgbm`, `ratio` of their `seconds`,
        `ratio_to_predict` of `seconds` to what `Booster.predict` alone took, matrices and
        calibration not counted, and `max_difference` of any two probabilities.

    Raises:
        UsageError: A count below one.
    """
    asked = _parser().parse_args(options)
    if min(asked.pairs, asked.days, asked.leads_per_day) < 1:
        raise UsageError(
            "--pairs, --days and --leads-per-day are at least 1. Nothing was measured."
        )
    with own_home(settings) as home:
        day = _build(home, asked.days, asked.leads_per_day, asked.seed)
        pairs = home.home / "pairs.parquet"
        different = _write_pairs(home, day, pairs)
        ours, probabilities = in_own_process(home, day, pairs, asked.pairs, "banyan")
        peer, expected = in_own_process(home, day, pairs, asked.pairs, "lightgbm")
    return {
        "pairs": asked.pairs,
        "different_pairs": different,
        "threads": settings.threads,
        **ours,
        "peers": {"lightgbm": peer},
        "ratio": round(ours["seconds"] / peer["seconds"], 3),
        "ratio_to_predict": round(ours["seconds"] / peer["predict_seconds"], 3),
        "max_difference": float(np.abs(probabilities - expected).max()),
    }


def _build(settings: Settings, days: int, leads: int, seed: int) -> date:
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
    """Write all that the models may look at of the day's pairs; return how many there are."""
    marts, model_set = settings.day_folder(settings.marts, day), score.load(settings, day)
    with connect(settings) as connection:
        load_leads(connection, marts)
        score_leads(connection, model_set)
        load_products(connection, marts, day)
        pairs = load_pair_features(connection, PAIRS).drop_columns(["pd"])
    pq.write_table(pairs, path)
    return int(pairs.num_rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench score", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5_000_000, metavar="N")
    parser.add_argument("--days", type=int, default=30, metavar="N", help="of the market")
    parser.add_argument("--leads-per-day", type=int, default=2_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    return parser
