"""Summary of a run: headline figures and paths of the results, or the failure and what to do."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.settings import Settings
from pipelines.reports.reconcile_day import DESTINATIONS

VERDICTS = {"fit": "fit", "remarks": "fit, with remarks", "not_fit": "NOT FIT"}
"""Verdict of a day -> its words on the terminal."""
NEGLIGIBLE_GAP = 5e-5
"""A smaller gap would show as 0.00%."""


def describe_results(settings: Settings, dates: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one paragraph per date, the paths of the last date's results, and the verdicts."""
    last = date.fromisoformat(max(dates))
    lead_file = next(
        iter(sorted(settings.day_folder(settings.outbox, last).glob("*/leads*"))), None
    )
    paths = {
        "matches": settings.day_folder(settings.matches, last) / "matches.parquet",
        "lead file": lead_file or "none: no institution is sent a lead today",
        "report": settings.day_folder(settings.reports, last) / "index.html",
    }
    paragraphs = [_headline(day, figures) for day, figures in dates.items()]
    lines = [f"{name:<10} {_shorten(path)}" for name, path in paths.items()]
    return "\n".join([*paragraphs, "", *lines, "", *describe_verdicts(dates)])


def describe_verdicts(dates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the verdict of each date with its reasons, one line each."""
    return [
        line
        for day, figures in dates.items()
        for line in (
            f"{day} is {VERDICTS[figures['verdict']]}{':' if figures['reasons'] else '.'}",
            *(f"  - {reason}" for reason in figures["reasons"]),
        )
    ]


def _headline(day: str, figures: Mapping[str, Any]) -> str:
    ends = " + ".join(f"{figures[end]:,} {end}" for end in DESTINATIONS)
    return (
        f"{day}: {figures['received']:,} leads = {ends}\n"
        f"{'':<12}{figures['matches']:,} matches for {figures['institutions']:,} institutions, "
        f"{figures['explored']:,} of them exploration; {_describe_plan(figures)}, "
        f"in {figures['seconds']:.0f} s"
    )


def _describe_plan(figures: Mapping[str, Any]) -> str:
    """Return how good the plan is; of a plan without matches that says nothing."""
    if not figures["matches"]:
        return "nothing was matched"
    return f"the plan is {_distance(figures['gap'])}"


def _distance(gap: float) -> str:
    return "proven optimal" if gap < NEGLIGIBLE_GAP else f"at most {gap:.2%} below the optimum"


def describe_failure(
    settings: Settings, day: date, last: date, run: Any, failures: Sequence[str], log: Path
) -> str:
    """Return what failed on `day`, why, what was not done, where to look and what to do.

    Args:
        settings: Settings of the home.
        day: The date that failed.
        last: The last date of the range.
        run: Airflow's dag run after its end.
        failures: The messages of the failed steps.
        log: The log file of the date.
    """
    states = {str(task.task_id): str(task.state) for task in run.get_task_instances()}
    failed = [name for name, state in states.items() if state == "failed"]
    skipped = [name for name, state in states.items() if state == "upstream_failed"]
    report = settings.day_folder(settings.reports, day) / "index.html"
    lines = [
        *failures,
        f"{day} was not delivered."
        if failed == ["sign_off"]
        else f"{day} failed at {', '.join(sorted(failed)) or 'an unknown step'}.",
        f"Not done: {', '.join(sorted(skipped))}." if skipped else "",
        f"Not run: the dates after it, to {last}." if last > day else "",
        f"The files published before are unchanged. The day's report: {_shorten(report)}",
        f"The whole log: {_shorten(log)}",
        ""
        if failed == ["sign_off"]  # its message says what to do
        else "Correct the cause and run the date again; steps that were done give the same bytes "
        "again.",
    ]
    return "\n".join(line for line in lines if line)


def _shorten(path: Path | str) -> str:
    """Return `path` relative to the working folder where it is below it."""
    if isinstance(path, Path) and path.resolve().is_relative_to(Path.cwd()):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)
