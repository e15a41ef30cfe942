"""The run lock: one date at a time works on a home, however its run was started.

A date builds on the ledger and the warehouse that the previous date left. `max_active_runs=1`
limits scheduled and manual runs; Airflow counts the runs of a backfill apart, with a limit of its
own (10 by default). So each run first waits until no run of an earlier date is active and until the
run that holds the lock has ended.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

from airflow.sdk import get_current_context, task
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.types import RuntimeTaskInstanceProtocol

from pipelines.core.settings import Settings


@task.sensor(  # `reschedule`: a waiting run must not occupy a worker
    task_id="await_turn", mode="reschedule", poke_interval=5
)
def wait_for_run_lock() -> bool:
    """Wait until this run may work on the home."""
    task_instance = get_current_context()["task_instance"]
    if task_instance.get_previous_dagrun(state="running"):
        return False
    home = Settings().home
    home.mkdir(parents=True, exist_ok=True)
    return acquire_run_lock(
        home / ".turn", task_instance.run_id, lambda run: _is_running(task_instance, run)
    )


def acquire_run_lock(file: Path, run_id: str, is_running: Callable[[str], bool]) -> bool:
    """Write `run_id` into the lock `file` unless the run named there is still active.

    A run never releases the lock itself: the lock is free once its run has ended, in any state.
    """
    with file.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        holder = lock.read()
        if holder not in {"", run_id} and is_running(holder):
            return False
        lock.seek(0)
        lock.truncate()
        lock.write(run_id)
    return True


def _is_running(task_instance: RuntimeTaskInstanceProtocol, run_id: str) -> bool:
    try:
        return task_instance.get_dagrun_state(task_instance.dag_id, run_id) == "running"
    # The run is unknown: it was deleted (`dag.test` does so when a date is run again) or belongs to
    # another Airflow. A supervised task raises the former error, an in-process task the latter.
    except (AirflowRuntimeError, ServerResponseError):
        return False
