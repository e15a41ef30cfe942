"""Study of the disk that a home takes: how much each day adds, by folder.

A simulated market under broadcast is ingested and transformed day by day; only the first day is
matched, because each folder of the later steps holds one day. At the end that day is replayed.
"""

import os
import shutil
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
    replace_home,
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
LEAST_SAMPLED = 2
"""The first of the sampled days is left out."""
MB = 1_000_000
WHOLE = "marts_whole"
"""The size of the marts if each day stored all of its rows, as schema version 1 did."""


@click.command("disk")
@count_option("--days", 60, "Days of the market.", least=4)
@count_option("--leads-per-day", 2_000, "Leads of each day.")
@count_option("--institutions", 60, "Number of institutions.")
@count_option("--sampled", 0, "Days built at each end of the market; 0: all days.", least=0)
@seed_option
@click.pass_obj
def command(
    settings: Settings, *, days: int, leads_per_day: int, institutions: int, sampled: int, seed: int
) -> Figures:
    """Measure how much disk each day adds to landing, lake, quarantine and marts.

    Of each folder the figures have the megabytes that a day adds in the first and in the second
    half of the days (`first`, `last`), and their `ratio`. The first day, which has every catalogue,
    is left out. With `--sampled` they are of the first and of the last N days but one: the last
    ones are built in a home of its own, whose first run takes in all days before them.
    `marts_whole` is what the marts would take if each day stored its history whole. `replay` has
    the files of the first day that were computed again after the last one (`compared`) and the
    ones that differ (`differences`).
    """
    if sampled and not LEAST_SAMPLED <= sampled <= days // 2:
        raise click.UsageError(
            f"--sampled {sampled}: choose 0, or {LEAST_SAMPLED} to {days // 2} of {days} days"
        )
    stopwatch = Stopwatch()
    dates = [START + timedelta(days=number) for number in range(days)]
    with temporary_home(settings) as home:
        simulate(home, SimulationPlan(START, days, leads_per_day, institutions, CHANNELS, seed))
        show_progress("disk", f"{days} days have landed")
        added = [run_in_new_process(run_first_day, home)]
        if sampled:
            old = _copy_landing(home, home.home / "last-days")
            first = added + _build_by_week(home, dates[1:sampled])
            last = _build_by_week(old, dates[-sampled:])
        else:
            added += _build_by_week(home, dates[1:])
            first, last = added[: (days + 1) // 2], added[days // 2 :]
        replayed = run_in_new_process(replay, home, START)
    return {
        "days": days,
        "leads_per_day": leads_per_day,
        "institutions": institutions,
        "sampled": sampled,
        "seed": seed,
        "folders": {name: compare(name, first[1:], last[1:]) for name in first[0]},
        "replay": {name: replayed[name] for name in ("date", "compared", "differences")},
        "seconds": round(stopwatch.seconds, 1),
    }


def _copy_landing(settings: Settings, home: Path) -> Settings:
    """Return the settings of a new home with the landed files of this one, as hard links."""
    copy = replace_home(settings, home)
    shutil.copytree(settings.landing, copy.landing, copy_function=os.link)
    return copy


def _build_by_week(settings: Settings, dates: Sequence[date]) -> list[dict[str, int]]:
    """Build `dates`; return the bytes that each adds, by folder."""
    added: list[dict[str, int]] = []
    for start in range(0, len(dates), DAYS_PER_PROCESS):
        week = dates[start : start + DAYS_PER_PROCESS]
        added += run_in_new_process(build_days, settings, week)
        show_progress("disk", f"{week[-1]} is built")
    return added


def run_first_day(settings: Settings) -> dict[str, int]:
    """Run the first day whole, through its DAG; return the bytes that it adds, by folder."""
    home = use_home(settings.home)
    return _measure_day(home, START, lambda: run_dates(home, START, START))


def build_days(settings: Settings, days: Sequence[date]) -> list[dict[str, int]]:
    """Ingest and transform `days` in order; return the bytes that each adds, by folder."""
    return [_measure_day(settings, day, partial(_build_day, settings, day)) for day in days]


def compare(
    name: str, first: Sequence[dict[str, int]], last: Sequence[dict[str, int]]
) -> dict[str, float | None]:
    """Return the megabytes a day that the folder `name` grows by at both ends, and their ratio."""
    early, late = (sum(sizes[name] for sizes in days) / len(days) for days in (first, last))
    return {
        "first": round(early / MB, 4),
        "last": round(late / MB, 4),
        "ratio": round(late / early, 3) if early else None,
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
