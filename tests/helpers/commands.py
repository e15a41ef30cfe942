"""The command line, run by processes that begin with the libraries imported.

Importing pandas, dbt and Great Expectations costs a command some 6 s of processor time. So one
process per worker imports them once, and each command is a fork of it, with variables, streams and
modules of this project of its own. `python -m tests.helpers.commands` is that process.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.core.environment import PROJECT, isolate_libraries
from tests.helpers.garbage import freeze_garbage_collector

LIBRARIES = (
    *("pyarrow.parquet", "pyarrow.compute", "duckdb", "pandas", "lightgbm", "pendulum"),
    *("great_expectations", "dbt.cli.main", "dbt.adapters.duckdb.connections"),
    *("jsonschema", "fastapi", "cadwyn", "alembic.command", "httpx", "structlog"),
    *("asyncssh", "holidays", "libcst", "paramiko", "phonenumbers", "sklearn.linear_model"),
)
"""Libraries that a day's run imports. Airflow is none of them: it reads its home on import."""

Completed = subprocess.CompletedProcess[str]


def run_command(
    *arguments: str, typed: str = "", in_own_python: bool = False, **environment: str
) -> Completed:
    """Run `python -m pipelines` as on the command line.

    Args:
        arguments: The verb and its options.
        typed: Standard input.
        in_own_python: True to start Python for it, with a hash seed of its own. A command with
            variables has one anyway: Python itself reads some of them.
        environment: Variables besides the ones of this process.
    """
    if in_own_python or environment:
        return subprocess.run(
            [sys.executable, "-m", "pipelines", *arguments],
            cwd=PROJECT,
            env=os.environ | environment,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
    server = _start_server()
    assert server.stdin
    assert server.stdout
    with TemporaryDirectory() as folder:
        Path(folder, "stdin").write_text(typed, "utf-8")
        request = {"arguments": arguments, "variables": dict(os.environ), "folder": folder}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        out, err = (Path(folder, name).read_text("utf-8") for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(arguments, code, out, err)


@cache
def _start_server() -> "subprocess.Popen[str]":
    """Start the process that is forked; it ends when this process does."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.helpers.commands"]
    server = subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True)
    atexit.register(server.communicate)
    return server


def _serve() -> None:
    """Answer each request with the exit code of its command; in the fork, run the command."""
    isolate_libraries()
    gc.disable()  # the imports make no garbage to speak of
    for name in LIBRARIES:
        importlib.import_module(name)
    freeze_garbage_collector()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become_command(**json.loads(line))
            return
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _become_command(arguments: list[str], variables: Mapping[str, str], folder: str) -> None:
    """Run the command in this process, which ends with its exit code."""
    os.environ.clear()
    os.environ.update(variables)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.argv = ["pipelines", *arguments]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    runpy.run_module("pipelines", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
