"""The lock of a home: one process at a time runs days on it."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings

LOCK = ".run.lock"
"""The file of the home whose lock is held; its content says nothing."""


class HomeLocked(BanyanError):
    """Another process runs days on the same home."""


@contextmanager
def lock_home(settings: Settings) -> Iterator[int]:
    """Hold the home for this process; the kernel releases it even when the process is killed.

    Yields:
        The descriptor of the lock's file; a child process that inherits it holds the home as well.

    Raises:
        HomeLocked: Another process holds it.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / LOCK
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeLocked(
                f"Another run is at work on {settings.home} ({describe_holder(settings)} holds "
                f"{path}). Nothing was done. Wait for it to end, or give this one its own home "
                "with --home."
            ) from None
        yield file.fileno()


def describe_holder(settings: Settings) -> str:
    """Return which process holds the lock of the home; empty if it is free."""
    path = settings.home / LOCK
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _describe_process(_find_process(path))
    return ""


def _find_process(path: Path) -> str:
    """Return the id of the process that took the lock on `path`, as Linux lists it; else empty."""
    inode = path.stat().st_ino
    try:
        text = Path("/proc/locks").read_text("utf-8")
    except OSError:
        return ""
    found = re.search(rf"FLOCK\s+\S+\s+\S+\s+(\d+)\s+\S+:{inode}\s", text)
    return found[1] if found else ""


def _describe_process(process: str) -> str:
    if not process:
        return "a process"
    if Path(f"/proc/{process}").exists():
        return f"process {process}"
    return f"a program that process {process} started before it ended"
