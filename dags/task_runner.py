"""What every task does: find its business date, run one step, say in one line what came of it."""

import logging
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from time import monotonic
from traceback import format_tb
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
from airflow.sdk import Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from dags.steps import in_words, run_step
from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

log = logging.getLogger("banyan")

WAREHOUSE = "warehouse"
"""The pool of one slot: while one process writes the DuckDB file no other can open it."""

RETRIES = {
    "retries": 2,
    "retry_delay": pendulum.duration(minutes=2),
    "execution_timeout": pendulum.duration(hours=1),
}
"""For machines that stumble; a task that refuses its input fails at once."""

BUSINESS_DATE = Param(
    None,
    type=["null", "string"],
    format="date",
    description="Run this business date (YYYY-MM-DD) instead of the run's own.",
)


QUOTED = re.compile(r"""'[^'\n]*'|"[^"\n]*"|\d{5,}""")


class StepBroke(Exception):
    """A step met what nobody foresaw; another try may help. It quotes no value."""


def step(name: str, **options: Any) -> Any:
    """Return a task that runs the step of its own name."""
    return task(task_id=name, **options)(work)(name)


def sharded(name: str, shards: Any, **options: Any) -> Any:
    """Return a task that runs the step of its own name once for each of `shards`."""
    return task(task_id=name, **options)(work).partial(step=name).expand(shard=shards)


def work(step: str, shard: dict[str, Any] | None = None) -> Any:
    """Run `step` for the business date of the running task and return its counts (to XCom).

    Raises:
        AirflowFailException: The step refused. Trying again gives the same answer, so the
            task fails at once and keeps its retries for machines that stumble.
    """
    settings = Settings()
    context = get_current_context()
    day = business_date(context, settings.zone)
    name = _task_name(context["task_instance"])
    log.debug("%s  %s", day, name)
    started = monotonic()
    try:
        counts = run_step(step, settings, day, *([] if shard is None else [shard]))
    except BanyanError as error:
        log.error("%s  %s refused: %s", day, name, error)  # noqa: TRY400 - its text is the story
        raise AirflowFailException(str(error)) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, its values stay inside
        story = without_values(f"{type(error).__name__}: {error}")
        frames = "".join(format_tb(error.__traceback__))
        log.error("%s  %s broke: %s", day, name, story)  # noqa: TRY400 - a traceback quotes values
        log.warning("%s  %s broke here:\n%s", day, name, frames)
        raise StepBroke(story) from None
    log.info("%s  %-13s %6.1f s  %s", day, name, monotonic() - started, in_words(counts))
    return counts


def business_date(context: Mapping[str, Any], zone: ZoneInfo) -> date:
    """Return the business date that a run is for, as the platform's time zone has it.

    The parameter `business_date` wins (a person asked for it). Else the date of the run's
    logical date: of a scheduled or backfilled run that is the start of its data interval, and
    of one started by hand it is the moment that was picked. Started by hand without any, it is
    the last whole business date.
    """
    if asked := context["params"].get("business_date"):
        return date.fromisoformat(asked)
    moment: datetime | None = context.get("logical_date")
    if moment:
        return moment.astimezone(zone).date()
    moment = context["dag_run"].run_after
    return moment.astimezone(zone).date() - timedelta(days=1)


def _task_name(task: Any) -> str:
    return task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"


def without_values(text: str) -> str:
    """Return an unforeseen error's text without what it quotes: that may be somebody's data."""
    return QUOTED.sub("...", text)
