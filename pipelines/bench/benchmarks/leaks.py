"""`bench leaks`: leaks planted in a simulated market, and whether each is found and nothing else.

The market is simulated with its broadcast, ingested and turned into training pairs as any day's.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from models.leakage.check import check_features, select_leaks
from models.params import Features, Label, params
from models.training.dataset import examples
from pipelines.bench.fixtures.home import own_home
from pipelines.bench.fixtures.synthetic_leaks import PLANTS, planted
from pipelines.bench.source_leaks import margins
from pipelines.core.settings import Settings
from pipelines.ingest import ingest
from pipelines.simulate import SimulationPlan, simulate
from pipelines.transform.build import transform

LABELS: dict[str, Label] = {"approval": "approved", "take_up": "funded"}
"""Models that a market of some weeks has outcomes for; defaults take a year."""


def main(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Return what the leak check finds in a simulated market, without and with each plant.

    Returns:
        `rows` and `honest_flagged` (names) by model; `margins`: for each test the honest column of
        the approval model that came nearest to its limit; `planted`: for each plant the tests that
        found it, with their figures; `missed` (plants); `seconds_checking` (of the approval
        model's features, processor time) and `seconds`.
    """
    asked = _parser().parse_args(options)
    began = time.perf_counter()
    with own_home(settings) as home:
        tables = _tables(home, asked)
    started = time.process_time()
    honest = {
        model: check_features(table, params().features_of(model)) for model, table in tables.items()
    }
    seconds_checking = time.process_time() - started
    found = _found(planted(tables["approval"]))
    return {
        "rows": {model: table.num_rows for model, table in tables.items()},
        "honest_flagged": {
            model: sorted({leak.name for leak in select_leaks(trials)})
            for model, trials in honest.items()
        },
        "margins": margins(honest["approval"]),
        "planted": found,
        "missed": sorted(plant for plant, tests in found.items() if not tests),
        "seconds_checking": round(seconds_checking, 1),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _tables(home: Settings, asked: argparse.Namespace) -> dict[str, pa.Table]:
    """Simulate the market and return the examples of each model as of its last day."""
    start = date.fromisoformat(asked.start)
    simulate(
        home,
        SimulationPlan(
            start=start,
            days=asked.days,
            leads_per_day=asked.leads_per_day,
            institutions=asked.institutions,
            channels=asked.channels,
            seed=asked.seed,
        ),
    )
    day = start + timedelta(days=asked.days - 1)
    ingest(home, day)
    transform(home, day)
    return {model: examples(home, day, label, as_of=day) for model, label in LABELS.items()}


def _found(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return for each plant, beside the honest features, the tests that find it."""
    features = params().features_of("approval")
    found = {}
    for plant in PLANTS:
        also = Features(numbers=(*features.numbers, plant), categories=features.categories)
        leaks = select_leaks(check_features(table, also))
        found[plant] = {leak.test: leak.value for leak in leaks if leak.name == plant}
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines bench leaks", description=__doc__)
    parser.add_argument("--start", default="2026-01-05")
    parser.add_argument("--days", type=int, default=30, metavar="N")
    parser.add_argument("--leads-per-day", type=int, default=1_500, metavar="N")
    parser.add_argument("--institutions", type=int, default=60, metavar="N")
    parser.add_argument("--channels", type=int, default=8, metavar="N")
    parser.add_argument("--seed", type=int, default=42, metavar="S")
    return parser
