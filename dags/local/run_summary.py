"""What a run says at its end: where everything is and the headline figures, or what failed."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.settings import Settings
from pipelines.reports.reconcile_day import ENDS

NOTHING = 5e-5
"""A gap that would show as 0.00%."""


def results(settings: Settings, dates: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one paragraph per date, and where the last date's results are."""
    last = date.fromisoformat(max(dates))
    lead_file = next(
        iter(sorted(settings.day_folder(settings.outbox, last).glob("*/leads*"))), None
    )
    places = {
        "matches": settings.day_folder(settings.matches, last) / "matches.parquet",
        "lead file": lead_file or "none: no institution is sent a lead today",
        "report": settings.day_folder(settings.reports, last) / "index.html",
    }
    paragraphs = [_headline(day, found) for day, found in dates.items()]
    return "\n".join([*paragraphs, "", *(f"{what:<10} {_near(at)}" for what, at in places.items())])


def _headline(day: str, found: Mapping[str, Any]) -> str:
    ends = " + ".join(f"{found[end]:,} {end}" for end in ENDS)
    return (
        f"{day}: {found['received']:,} leads = {ends}\n"
        f"{'':<12}{found['matches']:,} matches for {found['institutions']:,} institutions, "
        f"{found['explored']:,} by lot; the plan is {_distance(found['gap'])} proven "
        f"best, in {found['seconds']:.0f} s"
    )


def _distance(gap: float) -> str:
    return "the" if gap < NOTHING else f"{gap:.2%} below the"


def failure(
    settings: Settings, day: date, last: date, run: Any, failures: Sequence[str], log: Path
) -> str:
    """Return what failed on `day`, why, what was not done, where to look and what to do.

    Args:
        run: Airflow's dag run as it ended.
        failures: What the steps that failed said.
        log: Where everything else was printed.
    """
    states = {str(task.task_id): str(task.state) for task in run.get_task_instances()}
    failed = [name for name, state in states.items() if state == "failed"]
    stopped = [name for name, state in states.items() if state == "upstream_failed"]
    report = settings.day_folder(settings.reports, day) / "index.html"
    lines = [
        *failures,
        f"{day} failed at {', '.join(sorted(failed)) or 'an unknown step'}.",
        f"Not done: {', '.join(sorted(stopped))}." if stopped else "",
        f"Not run: the dates after it, to {last}." if last > day else "",
        f"What was published before stands. The day's report: {_near(report)}",
        f"The whole log: {_near(log)}",
        "Mend the cause and run the date again; steps that were done give the same bytes again.",
    ]
    return "\n".join(line for line in lines if line)


def _near(place: Path | str) -> str:
    """Return `place` as a person would type it from here."""
    if isinstance(place, Path) and place.resolve().is_relative_to(Path.cwd()):
        return str(place.resolve().relative_to(Path.cwd()))
    return str(place)
