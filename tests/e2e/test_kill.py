"""`kill -9` in each task of the day, then a run to the end: the bytes of an undisturbed run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.core.settings import PROJECT
from tests.e2e.conftest import Ran, copied
from tests.e2e.market import MONDAY, SUNDAY, run
from tests.e2e.published_bytes import differences

pytestmark = pytest.mark.prove

TASKS = (
    *("plan_ingest", "ingest[0]", "collect", "staging", "intermediate", "features", "marts"),
    *("train", "score", "match", "plan_deliver", "deliver[0]", "report", "close"),
)
MOMENTS = (0.0, 0.15)
"""Seconds after a task has begun at which its process is killed."""


def kill_in(home: Path, task: str, after: float) -> None:
    """Run the first date and kill its process `after` seconds into `task`."""
    terminal, stderr = os.openpty()  # where a person watches, tasks are told as they begin
    process = subprocess.Popen(
        [*(sys.executable, "-m", "pipelines", "run"), "--date", f"{SUNDAY}", "--home", str(home)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    os.close(stderr)
    seen = b""
    while f"{SUNDAY}  {task} ...".encode() not in seen:
        seen += os.read(terminal, 4096)
    time.sleep(after)
    process.kill()
    process.wait()
    os.close(terminal)


@pytest.mark.parametrize("after", MOMENTS)
def test_a_day_that_is_killed_in_each_of_its_tasks_ends_as_if_it_never_was(
    after: float, landed: Path, ran: Ran, tmp_path: Path
):
    home = copied(landed, tmp_path)
    for task in TASKS:
        kill_in(home, task, after)
    run(home, SUNDAY, MONDAY)
    assert differences(ran.home, home) == []
