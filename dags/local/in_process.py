"""Run `daily_match` for a range of dates in this process, without scheduler or server.

It is the same DAG with the same tasks, run by Airflow's own `dag.test`, with Airflow's metadata in
a SQLite file below the home.
"""

import logging
from collections.abc import Callable
from datetime import UTC, date, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from dags.local.environment import prepare_metadata, set_airflow_environment
from dags.local.run_summary import describe_failure
from dags.local.terminal import StepProgress, continue_output, redirect_output, stop_at_once
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.home.lock import lock_home
from pipelines.core.settings import Settings
from pipelines.reports.reconcile_day import NOT_FIT, reconcile_day

DayFigures = dict[str, Any]


def run_dates(settings: Settings, first: date, last: date) -> dict[str, DayFigures]:
    """Run every date from `first` to `last` and return each one's figures.

    A day that is not fit is published whole and doesn't stop the dates after it: its figures say
    `verdict` not_fit, and the caller ends with 1.

    Raises:
        HomeLocked: Another run is at work on the home.
        IntegrityError: A task of one date failed; the dates after it were not run.
    """
    dates = (first + timedelta(days=n) for n in range((last - first).days + 1))
    log = _find_log(settings, first)
    with lock_home(settings), redirect_output(log) as err, stop_at_once(err):
        run_day = prepare_day_runner(settings, last, partial(_find_log, settings), err)
        return {f"{day}": _run_with_own_log(settings, day, first, run_day) for day in dates}


def _run_with_own_log(
    settings: Settings, day: date, first: date, run_day: Callable[[date], DayFigures]
) -> DayFigures:
    if day != first:  # the log of the first date also has Airflow's start
        continue_output(_find_log(settings, day))
    return run_day(day)


def _find_log(settings: Settings, day: date) -> Path:
    return settings.logs / "run" / f"date={day}.log"


def prepare_day_runner(
    settings: Settings,
    last: date,
    find_log: Callable[[date], Path],
    err: TextIO,
    *,
    shows_steps: bool = True,
) -> Callable[[date], DayFigures]:
    """Prepare Airflow and return the function that runs one date and returns its figures.

    Args:
        settings: Settings of the home.
        last: The last date of the range, for the message of a failure.
        find_log: Returns the log file of a date, for the same message.
        err: The stream for the line of each step.
        shows_steps: True to write a line for each step; else only failures are collected.
    """
    set_airflow_environment(settings)
    dag = _load_daily_match()
    progress = StepProgress(err)
    logging.getLogger("banyan").addHandler(progress)
    logging.getLogger("banyan").setLevel(logging.DEBUG if shows_steps else logging.ERROR)

    def run_day(day: date) -> DayFigures:
        started = monotonic()
        start = settings.day_start(day)
        if start.date() != day:
            raise IntegrityError(
                f"{day} does not exist in {settings.time_zone} (BANYAN_TIME_ZONE): its clocks went "
                "over it. Nothing was run."
            )
        if start < dag.start_date:  # Airflow would run no task and succeed
            raise IntegrityError(
                f"{day} lies before {dag.start_date:%Y-%m-%d}, the first date that the DAG knows "
                "(`start_date` in dags/daily_match.py). Nothing was run."
            )
        progress.failures.clear()
        run = dag.test(logical_date=start.astimezone(UTC))
        is_done = run.state == "success" or _failed_tasks(run) == {"close"}
        figures = _reconcile(settings, day) if is_done else {}
        if not figures or (run.state != "success" and figures["verdict"] != NOT_FIT):
            log = find_log(day)
            raise IntegrityError(describe_failure(settings, day, last, run, progress.failures, log))
        seconds = round(monotonic() - started, 1)
        return figures | {"seconds": seconds, "state": str(run.state)}

    return run_day


def _reconcile(settings: Settings, day: date) -> DayFigures:
    """Return the figures of `day`; none if its files or counts are wrong, as `close` reported."""
    try:
        return reconcile_day(settings, day)
    except BanyanError:
        return {}


def _failed_tasks(run: Any) -> set[str]:
    states = {str(task.task_id): str(task.state) for task in run.get_task_instances()}
    return {name for name, state in states.items() if state in {"failed", "upstream_failed"}}


def _load_daily_match() -> Any:
    prepare_metadata()
    from dags.daily_match import daily_match
    from dags.sign_off import SignOffOperator

    dag = daily_match()
    for task in dag.tasks:
        task.retries = 0  # a person waits: report a failure at once
        if isinstance(task, SignOffOperator):
            task.waits = False  # no server takes an answer
    return dag
