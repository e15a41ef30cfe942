"""A whole day of a large market, through the DAG, against the bare kernels of its work."""

from datetime import date
from pathlib import Path
from typing import Any

import click

from dags.local.in_process import run_dates
from pipelines.bench.benchmarks.whole_day.kernels import measure_kernels
from pipelines.bench.benchmarks.whole_day.market import DAY, MarketSize, prepare_day
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    run_in_new_process,
    seed_option,
    show_progress,
    temporary_home,
)
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings, use_home
from pipelines.core.step_measurements import read_measurements

MB = 1_000_000
BETWEEN = "airflow"
"""The time of the run outside of any step: Airflow's start, and its work between the tasks."""


@click.command("day")
@count_option("--leads", 20_000, "Leads of the day.")
@count_option("--institutions", 500, "Number of institutions.")
@count_option(
    "--history", 14, "Days before it, which train the models; 0: stated priors only.", least=0
)
@seed_option
@click.pass_obj
def command(
    settings: Settings, *, leads: int, institutions: int, history: int, seed: int
) -> Figures:
    """Measure one whole day through its DAG in one process, and the bare kernels of its work.

    A day of the history has at most 5,000 leads; its last one is matched and answered. The figures
    have `seconds` and `cpu_seconds` by step and in `total` (`airflow`: outside of any step),
    `peak_mb` of the process and under `peak_mb_by_step`, `kernels` (each with `seconds` and
    `cpu_seconds`) by step and in `total`, `ratio` (processor time of the day to its kernels), and
    the `matches`, `verdict` and `prefilter_loss` of the day.
    """
    with temporary_home(settings) as home:
        prepare_day(home, MarketSize(leads, institutions, history, seed))
        show_progress("day", "running the day")
        day = run_in_new_process(measure_day, home.home, DAY)
        show_progress("day", "measuring the kernels")
        kernels = run_in_new_process(measure_kernels, home, DAY)
    bare = kernels["total"]["cpu_seconds"]
    return {
        "leads": leads,
        "institutions": institutions,
        "history": history,
        "seed": seed,
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        **day,
        "kernels": kernels,
        "ratio": round(day["cpu_seconds"]["total"] / bare, 2) if bare else None,
    }


def measure_day(home: Path, day: date) -> Figures:
    """Run `day` through its DAG; return its figures without the kernels."""
    settings = use_home(home)
    stopwatch = Stopwatch()
    found = run_dates(settings, day, day)[f"{day}"]
    total = {"seconds": stopwatch.seconds, "cpu_seconds": stopwatch.processor_seconds}
    steps: dict[str, dict[str, float]] = {name: {} for name in total}
    peaks: dict[str, int] = {}
    for each in read_measurements(settings, day):
        for name, values in steps.items():
            values[each.step] = values.get(each.step, 0.0) + getattr(each, name)
        peaks[each.step] = max(peaks.get(each.step, 0), round(each.peak_bytes / MB))
    for name, values in steps.items():
        values |= {BETWEEN: total[name] - sum(values.values()), "total": total[name]}
    return {
        **{
            name: {step: round(value, 2) for step, value in values.items()}
            for name, values in steps.items()
        },
        "peak_mb": max(peaks.values()),
        "peak_mb_by_step": peaks,
        **{name: found[name] for name in ("received", "matched", "matches", "gap", "verdict")},
        "prefilter_loss": _read_prefilter_loss(settings, day),
    }


def _read_prefilter_loss(settings: Settings, day: date) -> Any:
    """Return the bound on the loss by the prefilter; None for a day whose pairs were all scored."""
    return read_manifest(settings.day_folder(settings.matches, day)).get("prefilter_loss")
