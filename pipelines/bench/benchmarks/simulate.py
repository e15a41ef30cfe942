"""Benchmarks of the simulator: the time of a large day, and what a loan costs by seed."""

from datetime import date
from statistics import mean

import click

from dags.local.season import play_season
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    peak_memory_mb,
    run_in_new_process,
    seed_option,
    temporary_home,
)
from pipelines.core.settings import Settings, use_home
from pipelines.simulate import SimulationPlan, simulate

DAY = date(2025, 3, 3)
"""On its first day a market sends every feed, catalogues, lists and supply links included."""
CHANNELS = 20
FIGURES = (
    "fee_share_of_yield",
    "cost_share_of_yield",
    "cost_share_of_loans",
    "cost_per_funded",
    "approval_rate",
    "default_rate",
)
"""Figures of the scorecard that are reported for each seed."""


@click.command("simulate")
@count_option("--leads", 1_000_000, "Leads of the day.")
@count_option("--institutions", 500, "Number of institutions.")
@seed_option
@click.pass_obj
def simulate_command(settings: Settings, *, leads: int, institutions: int, seed: int) -> Figures:
    """Measure the time to write one day of a large simulated market, with every feed.

    The figures have the rows and files of each feed under `feeds`.
    """
    stopwatch = Stopwatch()
    with temporary_home(settings) as home:
        plan = SimulationPlan(DAY, 1, leads, institutions, CHANNELS, seed)
        feeds = simulate(home, plan)["feeds"]
        times = stopwatch.figures(digits=1)
    return {
        "leads": leads,
        "institutions": institutions,
        "seed": seed,
        "threads": settings.threads,
        "feeds": feeds,
        **times,
        "peak_mb": peak_memory_mb(with_children=True),
    }


@click.command("broadcast-cost")
@count_option("--seeds", 5, "Number of seeds, from 1 on; each is a market of its own.")
@count_option("--days", 3, "Days of each season.")
@count_option("--leads-per-day", 2_000, "Leads of each day.")
@count_option("--institutions", 60, "Number of institutions.")
@click.option("--start", default=f"{DAY}", show_default=True, help="First business date.")
@click.pass_obj
def broadcast_cost_command(
    settings: Settings, *, seeds: int, days: int, leads_per_day: int, institutions: int, start: str
) -> Figures:
    """Measure what institutions pay and channels cost per funded loan under broadcast, by seed.

    Each market is played through the pipeline, as `season` does. The figures have the scorecard's
    `FIGURES` of each seed under `seeds`, their `mean`, and the `lowest` and `highest` share of
    yield that channels cost, and that institutions pay (`lowest_fees`, `highest_fees`).
    """
    stopwatch = Stopwatch()
    first = date.fromisoformat(start)
    by_seed = {}
    for seed in range(1, seeds + 1):
        with temporary_home(settings) as home:
            plan = SimulationPlan(
                first, days, leads_per_day, institutions, CHANNELS, seed, broadcast_days=0
            )
            by_seed[f"{seed}"] = run_in_new_process(_measure_season, home, plan)
    shares = [figures["cost_share_of_yield"] for figures in by_seed.values()]
    fees = [figures["fee_share_of_yield"] for figures in by_seed.values()]
    return {
        "seeds": by_seed,
        "mean": {name: round(mean(f[name] for f in by_seed.values()), 6) for name in FIGURES},
        "lowest": min(shares),
        "highest": max(shares),
        "lowest_fees": min(fees),
        "highest_fees": max(fees),
        "seconds": round(stopwatch.seconds, 1),
    }


def _measure_season(home: Settings, plan: SimulationPlan) -> dict[str, float]:
    """Return the figures of a season under broadcast."""
    figures = play_season(use_home(home.home), plan)["scorecard"]["broadcast"]
    return {name: figures[name] for name in FIGURES}
