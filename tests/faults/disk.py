"""A small real disk (tmpfs) in the mount namespace of this process, and copies of what is on it."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.faults import Fault

READ_ONLY, REMOUNT, BIND, DETACH = 1, 32, 4096, 2
"""Flags of mount(2) and umount2(2)."""
SIZE = 1 << 30
"""Bytes of a disk that is not full."""

libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """A tmpfs at `folder`. Run the process under `unshare --mount`, and it vanishes with it."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)
        _mount("tmpfs", folder, 0, f"size={SIZE},mode=700")

    @property
    def used(self) -> int:
        """The bytes that are in use."""
        facts = os.statvfs(self.folder)
        return (facts.f_blocks - facts.f_bfree) * facts.f_frsize

    @contextmanager
    def failing(self, fault: Fault, needed: int) -> Iterator[None]:
        """Let the disk be full or read-only until the block ends, if `fault` says so.

        Args:
            fault: The fault.
            needed: The bytes that the work needs without it.
        """
        if fault.kind == "disk_full":
            with self._resized(self.used + int(fault.amount * max(needed, 0))):
                yield
        elif fault.kind == "read_only":
            with self._read_only(self.folder / fault.folder):
                yield
        else:
            yield

    @contextmanager
    def _resized(self, size: int) -> Iterator[None]:
        _mount(None, self.folder, REMOUNT, f"size={size}")
        try:
            yield
        finally:
            _mount(None, self.folder, REMOUNT, f"size={SIZE}")

    @contextmanager
    def _read_only(self, folder: Path) -> Iterator[None]:
        _mount(f"{folder}", folder, BIND)
        try:
            _mount(None, folder, REMOUNT | BIND | READ_ONLY)
            yield
        finally:
            if libc.umount2(os.fsencode(folder), DETACH):
                raise OSError(ctypes.get_errno(), "umount", f"{folder}")


def _mount(source: str | None, folder: Path, flags: int, options: str = "") -> None:
    kind = b"tmpfs" if source == "tmpfs" else None
    name = source.encode() if source else None
    if libc.mount(name, os.fsencode(folder), kind, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", f"{folder}")


def make_equal(folder: Path, source: Path) -> None:
    """Make `folder` equal to `source`, times included; files that seem equal stay as they are."""
    kept = {path.relative_to(source): path for path in source.rglob("*")}
    for path in sorted(folder.rglob("*"), reverse=True):
        original = kept.get(path.relative_to(folder))
        if original is None or original.is_dir() != path.is_dir():
            path.rmdir() if path.is_dir() else path.unlink()
    for name, path in sorted(kept.items()):
        target = folder / name
        if path.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.exists() or not _seem_equal(path, target):
            shutil.copy2(path, target)


def keep_copy(folder: Path, target: Path, earlier: Path | None) -> None:
    """Copy `folder` to `target`; files that seem equal to the ones of `earlier` become links."""

    def copy(source: str, destination: str) -> None:
        same = earlier / Path(source).relative_to(folder) if earlier else None
        if same and same.is_file() and _seem_equal(Path(source), same):
            os.link(same, destination)
        else:
            shutil.copy2(source, destination)

    shutil.copytree(folder, target, copy_function=copy)


def _seem_equal(one: Path, other: Path) -> bool:
    facts, others = one.stat(), other.stat()
    return (facts.st_size, facts.st_mtime_ns) == (others.st_size, others.st_mtime_ns)
