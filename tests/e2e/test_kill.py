"""`kill -9` of the command in each task of the day, then a run to the end: the same bytes.

`tests/faults/` kills single tasks, at many more points; here the whole program is killed, with
Airflow's metadata and the locks, and a person starts the day again from its beginning.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from pipelines.core.settings import PROJECT
from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, run
from tests.e2e.published_bytes import differences

pytestmark = pytest.mark.prove

BEGUN = re.compile(rf"{SUNDAY}  (\S+) \.\.\.".encode())
"""The line of the terminal that says that a task has begun."""
LONGEST_DELAY = 0.5
"""Seconds after a task has begun within which its process is killed."""


def kill_in(home: Path, number: int, delay: float) -> str:
    """Run the first date and kill its process in task `number`, counted from 1; return its name.

    Returns:
        Empty if the day has no such task: it ran to its end.
    """
    terminal, stderr = os.openpty()  # on a terminal each task is shown when it begins
    process = subprocess.Popen(
        [*(sys.executable, "-m", "pipelines", "run"), "--date", f"{SUNDAY}", "--home", str(home)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )
    os.close(stderr)
    seen = b""
    tasks: list[bytes] = []
    while len(tasks) < number:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the process has ended and closed its side
            break
        tasks = list(dict.fromkeys(BEGUN.findall(seen)))
    else:
        time.sleep(delay)
        process.kill()
    process.wait()
    os.close(terminal)
    return tasks[number - 1].decode() if len(tasks) >= number else ""


def test_a_day_killed_in_each_task_ends_with_the_same_bytes(
    landed: Path, ran: CompletedRun, tmp_path: Path, request: pytest.FixtureRequest
):
    home = copy_home(landed, tmp_path)
    random = Random(request.config.getoption("--fault-seed"))
    killed: list[str] = []
    while task := kill_in(home, len(killed) + 1, random.uniform(0, LONGEST_DELAY)):
        killed.append(task)
    assert {"plan_ingest", "match", "send", "close"} <= set(killed)
    run(home, SUNDAY, MONDAY)
    assert differences(ran.home, home) == []
