"""Study of the disk that a home takes: how much each day adds, by folder.

A simulated market under broadcast is ingested and transformed day by day; only the first day is
matched, because each folder of the later steps holds one day. At the end that day is replayed.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import click

from dags.local.in_process import run_dates
from dags.local.replay import replay
from pipelines.bench.shell import (
    Figures,
    Stopwatch,
    count_option,
    run_in_new_process,
    seed_option,
    show_progress,
    temporary_home,
)
from pipelines.core.home.shared_marts import list_shared_files
from pipelines.core.settings import Settings, use_home
from pipelines.ingest.ingest_day import ingest
from pipelines.simulate import SimulationPlan, simulate
from pipelines.transform.build import transform

START = date(2025, 3, 3)
CHANNELS = 20
DAYS_PER_PROCESS = 7
"""Days that one process builds: dbt keeps some memory of each."""
MB = 1_000_000
WHOLE = "marts_whole"
"""The size of the marts if each day stored all of its rows, as schema version 1 did."""


@click.command("disk")
@count_option("--days", 60, "Days that are built.", least=4)
@count_option("--leads-per-day", 2_000, "Leads of each day.")
@count_option("--institutions", 60, "Number of institutions.")
@seed_option
@click.pass_obj
def command(
    settings: Settings, *, days: int, leads_per_day: int, institutions: int, seed: int
) -> Figures:
    """Measure how much disk each day adds to landing, lake, quarantine and marts.

    Of each folder the figures have the megabytes that a day adds in the first and in the second
    half of the days (`first_half`, `second_half`), their ratio, and the sum. The first day, which
    has every catalogue, is left out of the halves. `marts_whole` is what the marts would take if
    each day stored its history whole. `replay` has the files of the first day that were computed
    again after the last one (`compared`) and the ones that differ (`differences`).
    """
    stopwatch = Stopwatch()
    dates = [START + timedelta(days=number) for number in range(days)]
    with temporary_home(settings) as home:
        simulate(home, SimulationPlan(START, days, leads_per_day, institutions, CHANNELS, seed))
        added = {name: [size] for name, size in run_in_new_process(run_first_day, home).items()}
        for start in range(1, days, DAYS_PER_PROCESS):
            week = dates[start : start + DAYS_PER_PROCESS]
            for sizes in run_in_new_process(build_days, home, week):
                for name, size in sizes.items():
                    added[name].append(size)
            show_progress("disk", f"{week[-1]} is built")
        replayed = run_in_new_process(replay, home, START)
    return {
        "days": days,
        "leads_per_day": leads_per_day,
        "institutions": institutions,
        "seed": seed,
        "folders": {name: summarize(sizes) for name, sizes in added.items()},
        "replay": {name: replayed[name] for name in ("date", "compared", "differences")},
        "seconds": round(stopwatch.seconds, 1),
    }


def run_first_day(settings: Settings) -> dict[str, int]:
    """Run the first day whole, through its DAG; return the bytes that it adds, by folder."""
    home = use_home(settings.home)
    return _measure_day(home, START, lambda: run_dates(home, START, START))


def build_days(settings: Settings, days: Sequence[date]) -> list[dict[str, int]]:
    """Ingest and transform `days` in order; return the bytes that each adds, by folder."""
    return [_measure_day(settings, day, partial(_build_day, settings, day)) for day in days]


def summarize(sizes: Sequence[int]) -> dict[str, float | None]:
    """Return the megabytes a day of both halves of `sizes`, without the first day."""
    half = (len(sizes) - 1) // 2
    first, second = sum(sizes[1 : 1 + half]), sum(sizes[-half:])
    return {
        "first_half": round(first / half / MB, 4),
        "second_half": round(second / half / MB, 4),
        "ratio": round(second / first, 3) if first else None,
        "total": round(sum(sizes) / MB, 3),
    }


def _build_day(settings: Settings, day: date) -> None:
    ingest(settings, day)
    transform(settings, day)


def _measure_day(settings: Settings, day: date, build: Callable[[], object]) -> dict[str, int]:
    """Build `day`; return the bytes that it adds, by folder."""
    roots = (settings.lake, settings.quarantine, settings.marts, settings.ledger)
    before = {root.name: _count_bytes(root.rglob("*")) for root in roots}
    build()
    added = {root.name: _count_bytes(root.rglob("*")) - before[root.name] for root in roots}
    marts = settings.day_folder(settings.marts, day)
    return {
        "landing": _count_bytes(settings.landing.glob(f"*/*/{day}/*")),
        **added,
        WHOLE: _count_bytes([*marts.iterdir(), *list_shared_files(marts)]),
    }


def _count_bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
