"""Synthetic leaks in a simulated market: the leak check finds each of them and nothing else.

The market is simulated with its broadcast, ingested and turned into training pairs as on any day.
"""

from datetime import date, timedelta

import click
import pyarrow as pa

from models.leakage.check import check_features, select_leaks
from models.leakage.synthetic_leaks import SYNTHETIC_LEAKS, add_synthetic_leaks
from models.params import Features, Label, params
from models.training.dataset import examples
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    temporary_home,
)
from pipelines.bench.source_leaks import nearest_limits
from pipelines.core.settings import Settings
from pipelines.ingest import ingest
from pipelines.simulate import SimulationPlan, simulate
from pipelines.transform.build import transform

LABELS: dict[str, Label] = {"approval": "approved", "take_up": "funded"}
"""Models with outcomes in a market of some weeks; defaults take a year."""


@click.command("leaks")
@click.option("--start", default="2026-01-05", show_default=True, help="First business date.")
@count_option("--days", 30, "Number of dates.")
@count_option("--leads-per-day", 1_500, "Leads of each date.")
@count_option("--institutions", 60, "Number of institutions.")
@count_option("--channels", 8, "Number of channels.")
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of the market.")
@click.pass_obj
def command(
    settings: Settings,
    *,
    start: str,
    days: int,
    leads_per_day: int,
    institutions: int,
    channels: int,
    seed: int,
) -> Figures:
    """Check a simulated market for leaks, without and with synthetic ones.

    The figures have `rows` and `valid_flagged` (names) by model; `nearest`: for each test the valid
    column of the approval model nearest to its limit; `synthetic`: for each synthetic leak the
    tests that find it, with their figures; `missed`; `seconds_checking` (of the approval model's
    features, processor time) and `seconds`.
    """
    stopwatch = Stopwatch()
    with temporary_home(settings) as home:
        first = date.fromisoformat(start)
        plan = SimulationPlan(first, days, leads_per_day, institutions, channels, seed)
        tables = _training_tables(home, plan)
    checking = Stopwatch()
    valid = {
        model: check_features(table, params().features_of(model)) for model, table in tables.items()
    }
    seconds_checking = checking.processor_seconds
    failed_tests = _find_synthetic_leaks(add_synthetic_leaks(tables["approval"]))
    return {
        "rows": {model: table.num_rows for model, table in tables.items()},
        "valid_flagged": {
            model: sorted({leak.name for leak in select_leaks(results)})
            for model, results in valid.items()
        },
        "nearest": nearest_limits(valid["approval"]),
        "synthetic": failed_tests,
        "missed": sorted(leak for leak, tests in failed_tests.items() if not tests),
        "seconds_checking": round(seconds_checking, 1),
        "seconds": round(stopwatch.seconds, 1),
    }


def _training_tables(home: Settings, plan: SimulationPlan) -> dict[str, pa.Table]:
    """Simulate the market and return the examples of each model as of its last day."""
    simulate(home, plan)
    day = plan.start + timedelta(days=plan.days - 1)
    ingest(home, day)
    transform(home, day)
    return {model: examples(home, day, label, as_of=day) for model, label in LABELS.items()}


def _find_synthetic_leaks(table: pa.Table) -> dict[str, dict[str, float]]:
    """Return for each synthetic leak, beside the valid features, the tests that find it."""
    features = params().features_of("approval")
    failed_tests = {}
    for name in SYNTHETIC_LEAKS:
        extended = Features(numbers=(*features.numbers, name), categories=features.categories)
        leaks = select_leaks(check_features(table, extended))
        failed_tests[name] = {leak.test: leak.value for leak in leaks if leak.name == name}
    return failed_tests
