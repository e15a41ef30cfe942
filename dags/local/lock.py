"""The lock of a home: one process at a time runs days on it."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.core.errors import BanyanError
from pipelines.core.settings import Settings


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
    path = settings.home / ".run.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeLocked(
                f"Another run is at work on {settings.home} (it holds {path}"
                f"{_describe_holder(path)}). Nothing was done. Wait for it to end, or give this "
                "one its own home with --home."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {' '.join(sys.argv[1:3])}")
        file.flush()
        yield file.fileno()


def _describe_holder(path: Path) -> str:
    """Return which process holds the lock at `path`, as far as the file says it."""
    process, _, command = path.read_text("utf-8", "replace").partition(" ")
    if not process.isdigit():
        return ""
    if Path(f"/proc/{process}").exists():
        return f": process {process}, {command}"
    return (
        f": process {process}, {command}, has ended, but programs that it started still run; "
        f"`fuser {path}` lists them"
    )
