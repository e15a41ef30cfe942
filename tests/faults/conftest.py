"""A disturbed day in a process of its own, and the schedule of its faults."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import pytest

from dags.local.environment import airflow_environment
from pipelines.core.settings import PROJECT, Settings
from tests.faults.schedule import Case, Profile

NAMESPACE = ("unshare", "--mount")
AS_USER = ("--user", "--map-root-user")
ONE_THREAD = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Lets libraries start no thread on import: only a process with one thread may fork."""


class DayServer:
    """The program `fault_server`."""

    def __init__(self, process: "subprocess.Popen[str]", answers: IO[str]):
        self.process, self.answers = process, answers
        self.cpu_seconds, profiles = self._read()
        self.profiles = {facts["task"]: _make_profile(facts) for facts in profiles}

    def run(self, case: Case) -> dict[str, Any]:
        """Return the result of `case`."""
        return self._ask(asdict(case))

    def walk(self, seed: int) -> dict[str, Any]:
        """Return the result of a walk through the day."""
        return self._ask(seed)

    def _ask(self, request: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        line = self.answers.readline()
        assert line, f"the program ended with {self.process.wait()}"
        return json.loads(line)


def _make_profile(facts: dict[str, Any]) -> Profile:
    operations = tuple(tuple(map(tuple, each)) for each in facts["operations"])
    cpu_seconds, folders = tuple(facts["cpu_seconds"]), tuple(facts["folders"])
    return Profile(
        **facts | {"operations": operations, "cpu_seconds": cpu_seconds, "folders": folders}
    )


@contextmanager
def serve_day(folder: Path, dates: int) -> Iterator[DayServer]:
    """Run a disturbed day of a market with so many dates until the block ends."""
    home = folder / "home"
    environment = {
        **os.environ,
        **airflow_environment(Settings(home=folder / "airflow")),
        **ONE_THREAD,
        "BANYAN_HOME": f"{home}",
        "BANYAN_MEMORY_LIMIT": "500MB",
        "BANYAN_THREADS": "1",
    }
    command = [*find_namespace(), sys.executable, "-m", "tests.faults.fault_server"]
    from_server, to_client = os.pipe()  # stdout gets what libraries print
    with (folder / "errors").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, f"{folder}", f"{dates}", f"{to_client}"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            pass_fds=(to_client,),
            text=True,
        )
    os.close(to_client)
    try:
        with os.fdopen(from_server, encoding="utf-8") as answers:
            yield DayServer(process, answers)
    except AssertionError:
        print((folder / "errors").read_text("utf-8")[-5000:])  # noqa: T201 - pytest shows it
        raise
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=60)


def find_namespace() -> list[str]:
    """Return the command that gives a program a mount namespace; skip the test without one."""
    commands = [[*NAMESPACE], [*NAMESPACE, *AS_USER]]
    if shutil.which("unshare"):
        for command in commands:
            probe = [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return command
    pytest.skip("no mount namespace: this machine lets nobody mount a small disk (unshare --mount)")
