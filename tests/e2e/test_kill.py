"""`kill -9` in each task of the day, then a complete run: the bytes of an uninterrupted run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.core.settings import PROJECT
from tests.e2e.conftest import CompletedRun, copy_home
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
    terminal, stderr = os.openpty()  # on a terminal each task is shown when it begins
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
def test_a_day_killed_in_each_task_ends_with_the_same_bytes(
    after: float, landed: Path, ran: CompletedRun, tmp_path: Path
):
    home = copy_home(landed, tmp_path)
    for task in TASKS:
        kill_in(home, task, after)
    run(home, SUNDAY, MONDAY)
    assert differences(ran.home, home) == []
