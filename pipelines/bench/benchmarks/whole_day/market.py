"""A simulated market with a history, and one large day of it that has landed and was not run.

The days of the history are smaller than the large day: they train the models, and give persons and
institutions a past. The same people, lenders and products are in both.
"""

import shutil
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from dags.local.in_process import run_dates
from pipelines.bench.shell import replace_home, run_in_new_process, show_progress
from pipelines.core.settings import Settings, use_home
from pipelines.simulate import SimulationPlan, respond, simulate

DAY = date(2026, 3, 3)
"""A Tuesday: the models are the ones that the Monday before has trained, as on most days."""
CHANNELS = 20
HISTORY_LEADS = 5_000
"""Most leads of a day of the history."""


@dataclass(frozen=True)
class MarketSize:
    """The size of the market."""

    leads: int
    """Leads of the large day."""
    institutions: int
    history: int
    """Days before it."""
    seed: int


def prepare_day(settings: Settings, size: MarketSize) -> None:
    """Simulate a market, run the last day of its history, and land the files of `DAY`.

    The history is a broadcast but for its last day, which is matched, delivered and answered by
    the world. Without history the market begins on `DAY`.
    """
    plan = SimulationPlan(DAY, 1, size.leads, size.institutions, CHANNELS, size.seed)
    if size.history:
        show_progress("day", f"{size.history} days of history")
        _play_history(settings, plan, size.history)
    show_progress("day", f"{size.leads:,} leads of the day")
    large = replace_home(settings, settings.home / "large-day")
    simulate(large, replace(plan, broadcast_days=0))
    _move_files(large.landing, settings.landing)
    shutil.rmtree(large.home)


def _play_history(settings: Settings, plan: SimulationPlan, days: int) -> None:
    history = replace(
        plan,
        start=DAY - timedelta(days=days),
        days=days,
        leads_per_day=min(plan.leads_per_day, HISTORY_LEADS),
        broadcast_days=days - 1,
    )
    simulate(settings, history)
    last = DAY - timedelta(days=1)
    run_in_new_process(_run_date, settings.home, last)
    respond(settings, last)


def _run_date(home: Path, day: date) -> None:
    run_dates(use_home(home), day, day)


def _move_files(source: Path, target: Path) -> None:
    for file in [path for path in source.rglob("*") if path.is_file()]:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
