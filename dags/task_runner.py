"""The body of every task: find the business date, run one step, log one line with its counts."""

import logging
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from time import monotonic
from traceback import format_tb
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
from airflow.sdk import BaseOperator, Context, Param
from airflow.sdk.exceptions import AirflowFailException

from dags import assets
from dags.run_lock import hold_run_lock
from dags.steps import format_counts, run_step
from pipelines.core.environment import protect_new_files
from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

log = logging.getLogger("banyan")

WAREHOUSE = "warehouse"
"""The pool of one slot: no other process can open the DuckDB file while one writes it."""

RETRIES = {
    "retries": 2,
    "retry_delay": pendulum.duration(minutes=2),
    "execution_timeout": pendulum.duration(hours=1),
}
"""Retries are for failing machines; a task that refuses its input fails at once."""

BUSINESS_DATE = Param(
    None,
    type=["null", "string"],
    format="date",
    description="Run this business date (YYYY-MM-DD) instead of the run's own.",
)


QUOTED = re.compile(r"""'[^'\n]*'|"[^"\n]*"|\d{5,}""")


class UnexpectedStepError(Exception):
    """A step met an unforeseen error; a retry may help. Its text quotes no value."""


class StepOperator(BaseOperator):
    """Run the step of the task's own name, once its run holds the run lock of the home.

    Args:
        shard: The part of the work that this task does, of a mapped step.
    """

    def __init__(self, *, shard: dict[str, Any] | None = None, **options: Any):
        super().__init__(**options)
        self.shard = shard

    def execute(self, context: Context, event: object = None) -> Any:  # noqa: ARG002
        """Run the step and return its counts (to XCom); the outlets' events carry them as well."""
        hold_run_lock(self, context)
        settings = Settings()
        day = business_date(context, settings.zone)
        counts = run_task(settings, day, self.task_id, _task_name(context["ti"]), self.shard)
        for outlet in self.outlets:
            event_of_outlet = context["outlet_events"][outlet]
            event_of_outlet.extra = assets.describe_event(outlet.name, day, counts)
        return counts


def run_task(
    settings: Settings, day: date, step: str, name: str, shard: dict[str, Any] | None
) -> Any:
    """Run `step` for business date `day` and return its counts.

    Args:
        settings: Settings of the home.
        day: The business date.
        step: The name of the step.
        name: The name of the task for the log: a mapped one has its index.
        shard: The part of the work; None: all of it.

    Raises:
        AirflowFailException: The step refused. A retry would give the same answer, so the task
            fails at once.
        UnexpectedStepError: The step met an unforeseen error.
    """
    protect_new_files(settings.umask)
    log.debug("%s  %s", day, name)
    started = monotonic()
    try:
        counts = run_step(step, settings, day, *([] if shard is None else [shard]))
    except BanyanError as error:
        log.error("%s  %s refused: %s", day, name, error)  # noqa: TRY400 - the text is enough
        raise AirflowFailException(str(error)) from None
    except Exception as error:  # noqa: BLE001 - no unforeseen error may show a person's data
        message = redact_values(f"{type(error).__name__}: {error}")
        frames = "".join(format_tb(error.__traceback__))
        log.error("%s  %s broke: %s", day, name, message)  # noqa: TRY400 - a traceback quotes values
        log.warning("%s  %s broke here:\n%s", day, name, frames)
        raise UnexpectedStepError(message) from None
    log.info("%s  %-13s %6.1f s  %s", day, name, monotonic() - started, format_counts(counts))
    return counts


def business_date(context: Context | Mapping[str, Any], zone: ZoneInfo) -> date:
    """Return the business date of a run, in the platform's time zone.

    The parameter `business_date` has precedence. Otherwise it is the date of the run's logical
    date: for a scheduled or backfilled run the start of its data interval, for a manual run the
    moment that was picked. For a manual run without a moment it is the last complete business
    date.
    """
    if requested := context["params"].get("business_date"):
        return date.fromisoformat(requested)
    moment: datetime | None = context.get("logical_date")
    if moment:
        return moment.astimezone(zone).date()
    moment = context["dag_run"].run_after
    return moment.astimezone(zone).date() - timedelta(days=1)


def _task_name(task: Any) -> str:
    return task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"


def redact_values(text: str) -> str:
    """Return an unforeseen error's text without its quotations, which may be personal data."""
    return QUOTED.sub("...", text)
