"""What lies in landing/: each file with its feed, source, date and content hash."""

import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.contracts import feeds
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings

SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
FORMATS = (".csv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz")
DEPTH = 4
"""FEED/SOURCE/YYYY-MM-DD/NAME."""
UNREADABLE = "unreadable"
"""Stands for the hash of a file that could not be opened."""
SETTLED_NS = 2_000_000_000
"""A file younger than this when hashed may change within one tick of the file system's clock."""

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Size, time of modification and time of change: equal stamps mean equal content."""


@dataclass(frozen=True)
class Landed:
    """One file below landing/ as it is now."""

    path: str
    """Relative to landing/, with `/`; bytes that are no UTF-8 are shown escaped."""
    feed: str
    """Empty where the folder names no feed."""
    source: str
    landed_on: date | None
    bytes: int
    sha256: str
    problem: str = ""
    """Why its name or place makes it impossible to take in; empty where nothing is wrong."""


def landed_files(settings: Settings, through: date) -> list[Landed]:
    """Return every file that is not of a later date than `through`, sorted by path.

    Names that begin with a dot or end in `.part` are still being written and are left out.
    Hashes are remembered beside the ledger, so a file is hashed once and not every day.
    """
    remembered = _remembered(settings)
    stamps: dict[str, tuple[Stamp, str]] = {}
    found = []
    for path, entry in _walk(settings.landing):
        feed, source, landed_on, problem = _placed(path)
        if landed_on is not None and landed_on > through:
            continue
        stamp, digest = _hashed(entry, remembered.get(path))
        stamps[path] = (stamp, digest)
        if digest == UNREADABLE:
            problem = "it is no file that can be opened; allow the platform to read it"
        elif not entry.path.isprintable():  # nor are bytes that are no UTF-8
            problem = "its path holds unprintable characters"
        found.append(Landed(path, feed, source, landed_on, stamp[0], digest, problem))
    if stamps.items() - remembered.items():
        _remember(settings, remembered | stamps)
    return sorted(found, key=lambda file: file.path)


def _walk(folder: Path) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield (path relative to `folder`, entry) of every file, at any depth; a link may be one."""
    waiting: list[tuple[str, str]] = [("", str(folder))] if folder.is_dir() else []
    seen: set[str] = set()
    while waiting:
        prefix, current = waiting.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue  # a link to a folder above would lead round and round
        seen.add(real)
        for entry in _listed(current, prefix):
            shown = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            if entry.is_dir():
                waiting.append((f"{prefix}{shown}/", entry.path))
            elif not entry.name.startswith(".") and not entry.name.endswith(".part"):
                yield prefix + shown, entry


def _listed(folder: str, shown: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        log.warning(
            "landing/%s cannot be listed (%s): nothing in it was taken in. Allow the platform to "
            "read it; its files will then be found.",
            shown,
            error.strerror,
        )
        return []


def _placed(path: str) -> tuple[str, str, date | None, str]:
    """Return feed, source, date and what is wrong with them, from a path below landing/."""
    parts = path.split("/")
    feed = parts[0] if parts[0] in feeds() and len(parts) > 1 else ""
    if not feed:
        return "", "", None, f"no feed has that folder; there are: {', '.join(feeds())}"
    if len(parts) != DEPTH:
        return feed, "", None, "a file lies at landing/FEED/SOURCE/YYYY-MM-DD/NAME"
    _, source, folder, name = parts
    landed_on = _date(folder)
    if not SOURCE.fullmatch(source):
        problem = f"a source matches ^{SOURCE.pattern}$"
    elif landed_on is None:
        problem = "the folder is no date such as 2026-01-31"
    elif not name.endswith(FORMATS):
        problem = f"its name ends in none of {', '.join(FORMATS)}"
    else:
        problem = ""
    return feed, source, landed_on, problem


def _date(folder: str) -> date | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", folder):
        return None
    try:
        return date.fromisoformat(folder)
    except ValueError:
        return None


def _hashed(entry: "os.DirEntry[str]", remembered: tuple[Stamp, str] | None) -> tuple[Stamp, str]:
    try:
        if not entry.is_file():
            return (0, 0, 0), UNREADABLE  # a pipe would never end
        stat = entry.stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if remembered and remembered[0] == stamp:
            return remembered
        digest = sha256(Path(entry.path))
    except OSError:
        return (0, 0, 0), UNREADABLE
    is_settled = time.time_ns() - max(stamp[1:]) > SETTLED_NS
    return stamp if is_settled else (stamp[0], 0, 0), digest


def _memory(settings: Settings) -> Path:
    return settings.ledger / ".hashes.parquet"


def _remembered(settings: Settings) -> dict[str, tuple[Stamp, str]]:
    try:
        columns = pq.read_table(_memory(settings)).to_pydict()
    except (FileNotFoundError, pa.ArrowInvalid):
        return {}  # nothing is lost: every file is hashed again
    stamps = zip(columns["bytes"], columns["modified"], columns["changed"], strict=True)
    return dict(zip(columns["path"], zip(stamps, columns["sha256"], strict=True), strict=True))


def _remember(settings: Settings, known: dict[str, tuple[Stamp, str]]) -> None:
    rows = [
        {"path": path, "bytes": stamp[0], "modified": stamp[1], "changed": stamp[2], "sha256": sha}
        for path, (stamp, sha) in known.items()
        if stamp[1]
    ]
    names = ["path", "bytes", "modified", "changed", "sha256"]
    table = pa.table({name: [row[name] for row in rows] for name in names})
    path = _memory(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    pq.write_table(table, beside)
    beside.rename(path)
