"""The operator of every task: hold the lock, run one step, log one line with its counts."""

import logging
import re
import signal
import sys
from datetime import date
from time import monotonic
from traceback import format_tb
from typing import Any

import pendulum
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from dags import assets
from dags.alerts import FailureAlert
from dags.run_context import BUSINESS_DATE, find_business_date, task_name
from dags.run_lock import hold_run_lock
from dags.steps import format_counts, run_step
from pipelines.core.environment import protect_new_files
from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

log = logging.getLogger("banyan")

WAREHOUSE = "warehouse"
"""The pool of one slot: no other process can open the DuckDB file while one writes it."""

TASK_DEFAULTS = {
    "retries": 2,
    "retry_delay": pendulum.duration(minutes=2),
    "execution_timeout": pendulum.duration(hours=1),
    "on_failure_callback": FailureAlert(),
}
"""Retries are for failing machines; a task that refuses its input fails at once. Only a task that
failed for good sends an alert."""

DAG_OPTIONS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,  # the run lock serialises the runs of a backfill and cleared ones as well
    "default_args": TASK_DEFAULTS,
    "params": {"business_date": BUSINESS_DATE},
}
"""What every DAG has."""

QUOTED = re.compile(r"""'[^'\n]*'|"[^"\n]*"|\d{5,}""")


class StepRefused(AirflowFailException):
    """A step refused with words. A retry would give the same answer, so the task fails at once."""

    def __init__(self, refusal: BanyanError):
        super().__init__(str(refusal))
        self.refusal = refusal


class UnexpectedStepError(Exception):
    """A step met an unforeseen error; a retry may help. Its text quotes no value."""


class StepOperator(BaseOperator):
    """Run the step of the task's own name, once its run holds the run lock of the home.

    Args:
        shard: The part of the work that this task does, of a mapped step.
        needs_lock: False for a step that only looks at the home.
    """

    def __init__(
        self, *, shard: dict[str, Any] | None = None, needs_lock: bool = True, **options: Any
    ):
        super().__init__(**options)
        self.shard = shard
        self.needs_lock = needs_lock

    def execute(self, context: Context, event: object = None) -> Any:  # noqa: ARG002
        """Run the step and return its counts (to XCom); the outlets' events carry them as well."""
        if self.needs_lock:
            hold_run_lock(self, context)
        settings = Settings()
        day = find_business_date(context, settings.zone)
        counts = run_task(settings, day, self.task_id, task_name(context["ti"]), self.shard)
        for outlet in self.outlets:
            event_of_outlet = context["outlet_events"][outlet]
            event_of_outlet.extra = assets.describe_event(outlet.name, day, counts)
        return counts

    def on_kill(self) -> None:
        """Stop at SIGTERM as at Ctrl-C: Airflow calls this in its place, and would go on.

        It calls this after a timeout as well, which has stopped the step.
        """
        if not isinstance(sys.exception(), AirflowTaskTimeout):
            signal.raise_signal(signal.SIGINT)

    def get_openlineage_facets_on_complete(self, task_instance: object) -> Any:  # noqa: ARG002
        """Return what the step read and wrote; Airflow's OpenLineage provider asks for it."""
        from dags.lineage.facets import describe_lineage  # noqa: PLC0415 - off by default

        return describe_lineage(Settings(), self.task_id)


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
        StepRefused: The step refused.
        UnexpectedStepError: The step met an unforeseen error.
    """
    protect_new_files(settings.umask)
    log.debug("%s  %s", day, name)
    started = monotonic()
    try:
        counts = run_step(step, settings, day, *([] if shard is None else [shard]))
    except BanyanError as error:
        log.error("%s  %s refused: %s", day, name, error)  # noqa: TRY400 - the text is enough
        raise StepRefused(error) from None
    except Exception as error:  # noqa: BLE001 - no unforeseen error may show a person's data
        message = redact_values(f"{type(error).__name__}: {error}")
        frames = "".join(format_tb(error.__traceback__))
        log.error("%s  %s broke: %s", day, name, message)  # noqa: TRY400 - a traceback quotes values
        log.warning("%s  %s broke here:\n%s", day, name, frames)
        raise UnexpectedStepError(message) from None
    log.info("%s  %-13s %6.1f s  %s", day, name, monotonic() - started, format_counts(counts))
    return counts


def redact_values(text: str) -> str:
    """Return an unforeseen error's text without its quotations, which may be personal data."""
    return QUOTED.sub("...", text)
