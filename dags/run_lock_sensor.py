"""One date at a time on one home, whoever started the runs.

A date builds on the ledger and the warehouse that the date before it left. `max_active_runs=1`
holds for scheduled runs and those started by hand; a backfill has a count of its own (10 unless
told otherwise) and is counted apart. So each run first waits for its turn: until no run of an
earlier date is at work, and until the run that last took the home has ended.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

from airflow.sdk import get_current_context, task
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.types import RuntimeTaskInstanceProtocol

from pipelines.core.settings import Settings


@task.sensor(mode="reschedule", poke_interval=5)  # a waiting run must not hold a worker
def await_turn() -> bool:
    """Wait until this run may work on the home."""
    task_instance = get_current_context()["task_instance"]
    if task_instance.get_previous_dagrun(state="running"):
        return False
    home = Settings().home
    home.mkdir(parents=True, exist_ok=True)
    return take(home / ".turn", task_instance.run_id, lambda run: _is_running(task_instance, run))


def take(token: Path, run_id: str, is_running: Callable[[str], bool]) -> bool:
    """Write `run_id` into `token` unless the run that stands there still works.

    Nothing is handed back: a run gives its turn up by ending, however it ends.
    """
    with token.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        holder = file.read()
        if holder not in {"", run_id} and is_running(holder):
            return False
        file.seek(0)
        file.truncate()
        file.write(run_id)
    return True


def _is_running(task_instance: RuntimeTaskInstanceProtocol, run_id: str) -> bool:
    try:
        return task_instance.get_dagrun_state(task_instance.dag_id, run_id) == "running"
    # No such run: it was deleted (as `dag.test` does when a date is run again), or ran in another
    # Airflow. A supervised task is told so by the former error, one run in-process by the latter.
    except (AirflowRuntimeError, ServerResponseError):
        return False
