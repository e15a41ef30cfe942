"""Run a task in a forked child process, in which a fault may befall it."""

import faulthandler
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dags.task_runner import StepRefused
from pipelines.core.errors import BanyanError
from tests.faults.faults import Fault, record_operations, start_in_process

LONGEST = 900
"""Seconds after which a task hangs."""
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ, -signal.SIGPROF}


@dataclass(frozen=True)
class Outcome:
    """How a child process ended."""

    state: Literal["done", "refused", "broke", "killed"]
    value: Any = None
    """Of a task that is done: what it returned."""
    message: str = ""
    """Of one that refused, or that broke by an unforeseen error: the error."""
    cpu_seconds: float = 0.0
    operations: tuple[tuple[str, str], ...] = ()


def run_forked(
    work: Callable[[], Any],
    home: Path,
    log: Path,
    fault: Fault | None = None,
    *,
    cpu_seconds: float = 0.0,
    records: bool = False,
) -> Outcome:
    """Run `work` in a child process and return how it ended.

    Args:
        work: Returns a JSON value. This process must have one thread: a child has no other.
        home: The folder whose disk operations count.
        log: Gets what the child writes to stdout and stderr.
        fault: What befalls the child.
        cpu_seconds: The processor time that `work` takes without it.
        records: Whether the outcome lists the disk operations.
    """
    child = _start(work, home, log, fault, cpu_seconds=cpu_seconds, records=records)
    return _wait(child, log)


def run_together(works: Sequence[Callable[[], Any]], home: Path, log: Path) -> list[Outcome]:
    """Run `works` at the same time, each in a child process, and return how each ended."""
    return [_wait(child, log) for child in [_start(work, home, log) for work in works]]


@dataclass(frozen=True)
class _Child:
    process: int
    pipe: int
    """The descriptor from which its report is read."""


def _start(
    work: Callable[[], Any],
    home: Path,
    log: Path,
    fault: Fault | None = None,
    *,
    cpu_seconds: float = 0.0,
    records: bool = False,
) -> _Child:
    from_child, to_parent = os.pipe()
    process = os.fork()
    if not process:
        os.close(from_child)
        _redirect_output(log, fault)
        operations = record_operations(home) if records else []
        start_in_process(fault, home, cpu_seconds)
        _run_child(work, to_parent, operations)
    os.close(to_parent)
    return _Child(process, from_child)


def _wait(child: _Child, log: Path) -> Outcome:
    text = _read_until_end(child)
    _, status, usage = os.wait4(child.process, 0)
    code = os.waitstatus_to_exitcode(status)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    if code in KILLED:
        return Outcome("killed", cpu_seconds=cpu_seconds)
    if code or not text:
        tail = log.read_text("utf-8", "replace")[-3000:]
        return Outcome("broke", message=f"the process ended with {code}: {tail}")
    facts = json.loads(text)
    facts["operations"] = tuple(map(tuple, facts["operations"]))
    return Outcome(**facts, cpu_seconds=cpu_seconds)


def _redirect_output(log: Path, fault: Fault | None) -> None:
    is_limited = fault is not None and fault.kind == "kill_write"  # the log is a file as well
    target = os.open(os.devnull if is_limited else log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(target, stream)
    faulthandler.enable()


def _run_child(
    work: Callable[[], Any], to_parent: int, operations: Sequence[tuple[str, str]]
) -> None:
    """Run `work`, report to the parent and end this process."""
    try:
        facts = {"state": "done", "value": work()}
    except (StepRefused, BanyanError) as refusal:
        facts = {"state": "refused", "message": f"{refusal}"}
    except BaseException as error:  # noqa: BLE001 - of any error the parent must know
        facts = {"state": "broke", "message": f"{type(error).__name__}: {error}"}
    signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.flush()
    sys.stderr.flush()
    text = json.dumps(facts | {"operations": operations}, default=str)
    with os.fdopen(to_parent, "w", encoding="utf-8") as pipe:
        pipe.write(text)
    os._exit(0)


def _read_until_end(child: _Child) -> str:
    """Return what the child wrote; abort one that hangs, with its stack in the log."""
    chunks = []
    with os.fdopen(child.pipe, "rb") as pipe:
        while True:
            ready, *_ = select.select([pipe], [], [], LONGEST)
            if not ready:
                os.kill(child.process, signal.SIGABRT)
                break
            chunk = os.read(pipe.fileno(), 1 << 16)
            if not chunk:
                break
            chunks.append(chunk)
    return b"".join(chunks).decode()
