"""Faults that befall a running task: kills, a disk that fails, a link that is cut."""

import errno
import os
import re
import resource
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from sys import addaudithook
from typing import Any

KILLS = ("kill_operation", "kill_write", "kill_time")
"""The process ends at once, without running any more code: before a disk operation, within a write
(at the byte where its limit of a file's size is reached), or at a moment of its processor time."""
DISK_FAULTS = ("disk_full", "read_only", "fsync_fails")
LINK_FAULT = "link_cut"
CORRUPTION = "corrupt_leftovers"
"""What the fault before has left half-written is overwritten."""

LEAST_TIME = 0.001
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PATHS_OF_EVENTS = {
    "os.link": ((0, 2), (1, 3)),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.truncate": ((0, None),),
}
"""Audit event of CPython -> positions of a path and of the descriptor of its folder."""
PRIVATE_SUFFIX = re.compile(r"^(\.spill)-.*")


@dataclass(frozen=True)
class Fault:
    """One fault of a schedule; which fields count depends on its kind."""

    kind: str
    instance: int = 0
    """Index of the mapped task that it befalls."""
    operation: str = ""
    """Of `kill_operation`: the disk operation, such as `os.rename`."""
    folder: str = ""
    """Of `kill_operation`: the folder of the home in which it happens; of `read_only`: the folder
    that can't be written, empty for the whole home."""
    number: int = 0
    """The how many-th operation it is, or sync of `fsync_fails`, counted from 1."""
    amount: float = 0.0
    """Of `kill_write`: the bytes of a file; of `kill_time`: the share of the processor time that
    the task takes; of `disk_full`: the share of the space that it needs; of `link_cut`: the bytes
    sent."""

    def __str__(self) -> str:
        facts = {name: value for name, value in asdict(self).items() if value}
        return " ".join([facts.pop("kind"), *(f"{key}={value}" for key, value in facts.items())])


def start_in_process(fault: Fault | None, home: Path, cpu_seconds: float) -> None:
    """Let a fault befall this process; the faults of the disk befall it from outside.

    Args:
        fault: The fault.
        home: The folder on which the process works.
        cpu_seconds: The processor time that its work takes without a fault.
    """
    if fault is None:
        return
    if fault.kind == "kill_operation":
        _watch_disk(home, _Countdown(fault, _kill))
    elif fault.kind == "fsync_fails":
        _watch_disk(home, _Countdown(fault, _fail_to_sync))
    elif fault.kind == "kill_write":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = int(fault.amount)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    elif fault.kind == "kill_time":
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, max(fault.amount * cpu_seconds, LEAST_TIME))


def record_operations(home: Path) -> list[tuple[str, str]]:
    """Return a list that gets each disk operation below `home`, with its folder, from now on."""
    operations: list[tuple[str, str]] = []
    _watch_disk(home, lambda *operation: operations.append(operation))
    return operations


class _Countdown:
    """Acts when the operation of a fault happens for the n-th time."""

    def __init__(self, fault: Fault, act: Callable[[], None]):
        is_sync = fault.kind == "fsync_fails"
        self.operation = "os.fsync" if is_sync else fault.operation
        self.folders = None if is_sync else {fault.folder}
        self.act, self.left = act, fault.number

    def __call__(self, operation: str, folder: str) -> None:
        if operation == self.operation and (self.folders is None or folder in self.folders):
            self.left -= 1
            if self.left == 0:
                self.act()


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail_to_sync() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _watch_disk(home: Path, react: Callable[[str, str], None]) -> None:
    """Call `react` before each disk operation below `home`: its name and the folder of the home.

    Python has an audit event for all but the sync. What native code writes is met by `kill_write`
    and `kill_time` alone.
    """
    root = f"{home}{os.sep}"

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITES:
                report("open", path)
        elif event in PATHS_OF_EVENTS:
            *_, (path_at, folder_at) = PATHS_OF_EVENTS[event]
            report(event, arguments[path_at], arguments[folder_at] if folder_at else -1)

    def report(operation: str, path: object, descriptor: int = -1) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.fsdecode(path)
        if not text.startswith(os.sep) and descriptor >= 0:
            text = f"{_find_path(descriptor)}{os.sep}{text}"
        if text.startswith(root):
            top = text.removeprefix(root).partition(os.sep)[0]
            react(operation, PRIVATE_SUFFIX.sub(r"\1", top))

    fsync = os.fsync

    def watched_fsync(descriptor: int) -> None:
        report("os.fsync", _find_path(descriptor))
        fsync(descriptor)

    os.fsync = watched_fsync  # type: ignore[assignment]
    addaudithook(audit)


def _find_path(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - no path while it is watched
