"""Run `daily_match` for a range of dates in this one process, without scheduler or server.

The command line's `run` becomes this process. It is the same DAG with the same tasks, through
Airflow's own `dag.test`, with Airflow's metadata in a SQLite file below the home.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from dags.local import run_summary
from dags.local.environment import enter, prepare
from dags.local.lock import alone
from dags.local.terminal import Lines, printing_to
from pipelines.core.errors import BanyanError, IntegrityError
from pipelines.core.settings import Settings, use_home
from pipelines.reports.reconcile_day import figures


def main() -> int:
    """Run the dates asked for, oldest first, and stop at the first that fails."""
    asked = _asked()
    settings = use_home(asked.home) if asked.home else Settings()
    log = settings.logs / "run" / f"date={asked.date}.log"
    with printing_to(log) as (out, err):
        try:
            with alone(settings):
                results = run(settings, asked.date, asked.to or asked.date, log, err)
        except BanyanError as error:
            print(error, file=err)
            return 1
        print(
            json.dumps(results) if asked.json else run_summary.results(settings, results), file=out
        )
    return 0


def run(
    settings: Settings, first: date, last: date, log: Path, err: TextIO
) -> dict[str, dict[str, Any]]:
    """Run every date from `first` to `last` and return each one's figures.

    Raises:
        IntegrityError: A task of one date failed; the dates after it were not run.
    """
    run_day = day_runner(settings, last, log, err)
    dates = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return {f"{day}": run_day(day) for day in dates}


def day_runner(
    settings: Settings, last: date, log: Path, err: TextIO, *, tells_steps: bool = True
) -> Callable[[date], dict[str, Any]]:
    """Make everything ready and return what runs one date and returns its figures.

    Args:
        settings: Says where the home is.
        last: The last date that is to be run, for the message if one before it fails.
        log: Where this process prints, for the same message.
        err: Where the line of each step goes.
        tells_steps: Without it only failures are kept, for the message.
    """
    enter(settings)
    dag = _daily_match()
    lines = Lines(err)
    logging.getLogger("banyan").addHandler(lines)
    logging.getLogger("banyan").setLevel(logging.DEBUG if tells_steps else logging.ERROR)

    def run_day(day: date) -> dict[str, Any]:
        started = monotonic()
        if settings.day_start(day) < dag.start_date:  # Airflow would run no task and call it done
            raise IntegrityError(
                f"{day} lies before {dag.start_date:%Y-%m-%d}, the first date that the DAG knows "
                "(`start_date` in dags/daily_match.py). Nothing was run."
            )
        ended = dag.test(logical_date=settings.day_start(day))
        if ended.state != "success":
            raise IntegrityError(
                run_summary.failure(settings, day, last, ended, lines.failures, log)
            )
        seconds = round(monotonic() - started, 1)
        return figures(settings, day) | {"seconds": seconds, "state": "success"}

    return run_day


def _daily_match() -> Any:
    prepare()
    from dags.daily_match import daily_match

    dag = daily_match()
    for task in dag.tasks:
        task.retries = 0  # a person is waiting: say at once what failed
    return dag


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dags.local.in_process")
    parser.add_argument("--date", type=date.fromisoformat, required=True)
    parser.add_argument("--to", type=date.fromisoformat)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
