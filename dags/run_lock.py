"""The run lock: one run at a time works on a home, however it was started.

A date builds on the ledger and the warehouse that the previous date left. `max_active_runs=1`
limits scheduled and manual runs; Airflow counts the runs of a backfill apart, with a limit of its
own (10 by default), and a cleared run becomes active again beside any other. So each task first
asks for the lock of the home, and waits while another active run holds it; the first task of a day
(`await_turn`) also waits for active runs of earlier dates.

Waiting is deferral: it occupies no worker and counts no try. A sensor in reschedule mode counts
one whenever the scheduler reads the end of a poke after the next one was queued (apache/airflow
issue 71172). A deferred task has the same race (72716) if it resumes within seconds, so a trigger
never fires before `PAUSE`.
"""

import asyncio
import fcntl
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from airflow.sdk import BaseOperator, Context
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from pipelines.core.settings import Settings

log = logging.getLogger("banyan")

LOCK = ".turn"
"""The file of the home with the id of the run that holds the lock: DAG_ID, a space, RUN_ID."""

PAUSE = 30.0
"""Seconds between a deferral and the first look of its trigger."""

INTERVAL = 5.0
"""Seconds between two looks of a trigger."""

START_PERIOD = timedelta(minutes=10)
"""Time after its start in which a run also waits for earlier dates that are queued: the runs of a
backfill start one after the other. Without an end two runs could wait for each other, because
Airflow limits the active runs of a DAG."""


class RunLockTrigger(BaseTrigger):
    """Fire when no other active run holds the run lock of a home.

    Args:
        lock: The path of the lock file.
        run: The id of the run that waits, as the lock file has it.
    """

    def __init__(self, lock: str, run: str):
        super().__init__()  # type: ignore[no-untyped-call]
        self.lock, self.waiting_run = lock, run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class and its arguments, for Airflow's database."""
        arguments = {"lock": self.lock, "run": self.waiting_run}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the lock again and again, and yield one event once it is free."""
        await asyncio.sleep(PAUSE)
        while (holder := read_holder(Path(self.lock))) not in {"", self.waiting_run}:
            if not await sync_to_async(is_active)(holder):
                break
            await asyncio.sleep(INTERVAL)
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]


class AwaitTurn(BaseOperator):
    """Wait until this run may work on the home: no earlier date is active and the lock is free."""

    def execute(self, context: Context, event: object = None) -> None:  # noqa: ARG002
        """Acquire the run lock, or give it back and defer.

        A run that is cleared still holds the lock of its last try. While it waits it must not: an
        earlier run that was cleared with it would wait for this one, and this one for it.
        """
        if _has_earlier_run(context):
            release_run_lock(Settings().home / LOCK, run_name(context))
            defer_until_free(self, context)
        hold_run_lock(self, context)


def _has_earlier_run(context: Context) -> bool:
    """Return True if a run of an earlier date is active, or is about to start."""
    task_instance, started = (
        cast("RuntimeTaskInstance", context["ti"]),
        context["dag_run"].start_date,
    )
    is_new = started is None or datetime.now(UTC) - started < START_PERIOD
    states = ("running", "queued") if is_new else ("running",)
    return any(task_instance.get_previous_dagrun(state=state) for state in states)


def hold_run_lock(task: BaseOperator, context: Context) -> None:
    """Acquire the run lock for the run of `task`, or defer the task until it is free.

    Raises:
        IntegrityError: The home can't be written; the message says what to do.
    """
    from pipelines.core.library_errors import in_words  # noqa: PLC0415 - loads pyarrow

    settings = Settings()
    with in_words(settings):
        settings.home.mkdir(parents=True, exist_ok=True)
        is_held = acquire_run_lock(settings.home / LOCK, run_name(context), is_active)
    if not is_held:
        defer_until_free(task, context)


def defer_until_free(task: BaseOperator, context: Context) -> None:
    """Defer `task`; it begins again when the run lock of the home is free."""
    lock, run = Settings().home / LOCK, run_name(context)
    log.info("%s waits: %s is at work on the home", run, read_holder(lock) or "an earlier date")
    task.defer(trigger=RunLockTrigger(f"{lock.resolve()}", run), method_name="execute")


def run_name(context: Context) -> str:
    """Return the name of the task's run in the lock file."""
    return f"{context['ti'].dag_id} {context['ti'].run_id}"


def is_active(run: str) -> bool:
    """Return True if `run`, as the lock file names it, is running in this Airflow.

    A run that was deleted, or that belongs to another Airflow, is not.
    """
    dag_id, _, run_id = run.partition(" ")
    count = RuntimeTaskInstance.get_dr_count(dag_id, run_ids=[run_id], states=["running"])
    return count > 0


def acquire_run_lock(file: Path, run: str, is_active: Callable[[str], bool]) -> bool:
    """Write `run` into the lock `file` unless the run named there is another active one.

    A run doesn't release the lock at its end: the lock is free once its run has ended, in any
    state, so a killed run can't leave it closed.
    """
    with file.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        holder = lock.read()
        if holder == run:
            return True
        if holder and is_active(holder):
            return False
        lock.seek(0)
        lock.truncate()
        lock.write(run)
    return True


def release_run_lock(file: Path, run: str) -> None:
    """Empty the lock `file` if `run` holds it."""
    if read_holder(file) != run:
        return
    with file.open("r+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if lock.read() == run:
            lock.seek(0)
            lock.truncate()


def read_holder(file: Path) -> str:
    """Return the run that the lock `file` names; empty if there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
