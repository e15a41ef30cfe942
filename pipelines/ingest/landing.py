"""The files in landing/, each with its feed, source, date and content hash."""

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
NOT_OPENED = "unreadable"
"""Takes the place of the hash of a file that could not be opened."""
MIN_AGE_NS = 2_000_000_000
"""A younger file can still change within one tick of the file system's clock, so its hash is not
cached."""

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Size, time of modification and time of change: equal stamps mean equal content."""


@dataclass(frozen=True)
class LandedFile:
    """One file below landing/, at present."""

    path: str
    """Relative to landing/, with `/`; bytes that are no UTF-8 are escaped."""
    feed: str
    """Empty where the folder names no feed."""
    source: str
    landed_on: date | None
    bytes: int
    sha256: str
    problem: str = ""
    """Why its name or folder is invalid; empty where it is valid."""


def list_landed_files(settings: Settings, through: date) -> list[LandedFile]:
    """Return every file of a date up to `through`, sorted by path.

    Names that begin with a dot or end in `.part` are still being written and are left out.
    Hashes are cached beside the ledger, so a file is hashed once and not every day.
    """
    cache = _read_hash_cache(settings)
    hashes: dict[str, tuple[Stamp, str]] = {}
    files = []
    for path, entry in _walk(settings.landing):
        feed, source, landed_on, problem = _parse_path(path)
        if landed_on is not None and landed_on > through:
            continue
        stamp, digest = _hash_file(entry, cache.get(path))
        hashes[path] = (stamp, digest)
        if digest == NOT_OPENED:
            problem = "it is no file that can be opened; allow the platform to read it"
        elif not entry.path.isprintable():  # nor are bytes that are no UTF-8
            problem = "its path holds unprintable characters"
        files.append(LandedFile(path, feed, source, landed_on, stamp[0], digest, problem))
    if hashes.items() - cache.items():
        _write_hash_cache(settings, cache | hashes)
    return sorted(files, key=lambda file: file.path)


def list_paths(settings: Settings) -> Iterator[tuple[str, str, str, date]]:
    """Yield path, feed, source and date of every file in a valid folder, of any date."""
    for path, _ in _walk(settings.landing):
        feed, source, landed_on, _ = _parse_path(path)
        if landed_on is not None:
            yield path, feed, source, landed_on


def _walk(folder: Path) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield (path relative to `folder`, entry) of every file, at any depth; links are followed."""
    pending: list[tuple[str, str]] = [("", str(folder))] if folder.is_dir() else []
    seen: set[str] = set()
    while pending:
        prefix, current = pending.pop()
        real = os.path.realpath(current)
        if real in seen:
            continue  # a link to a parent folder would make an endless loop
        seen.add(real)
        for entry in _list_folder(current, prefix):
            shown = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            if entry.is_dir():
                pending.append((f"{prefix}{shown}/", entry.path))
            elif not entry.name.startswith(".") and not entry.name.endswith(".part"):
                yield prefix + shown, entry


def _list_folder(folder: str, shown: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        log.warning(
            "landing/%s cannot be listed (%s): none of its files was read. Allow the platform to "
            "read the folder; the next run reads its files.",
            shown,
            error.strerror,
        )
        return []


def _parse_path(path: str) -> tuple[str, str, date | None, str]:
    """Return feed, source, date and problem of a path below landing/."""
    parts = path.split("/")
    feed = parts[0] if parts[0] in feeds() and len(parts) > 1 else ""
    if not feed:
        return "", "", None, f"no feed has that folder; there are: {', '.join(feeds())}"
    if len(parts) != DEPTH:
        return feed, "", None, "the path of a file is landing/FEED/SOURCE/YYYY-MM-DD/NAME"
    _, source, folder, name = parts
    landed_on = _parse_date(folder)
    if not SOURCE.fullmatch(source):
        problem = f"a source matches ^{SOURCE.pattern}$"
    elif landed_on is None:
        problem = "the folder is no date such as 2026-01-31"
    elif not name.endswith(FORMATS):
        problem = f"its name ends in none of {', '.join(FORMATS)}"
    else:
        problem = ""
    return feed, source, landed_on, problem


def _parse_date(folder: str) -> date | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", folder):
        return None
    try:
        return date.fromisoformat(folder)
    except ValueError:
        return None


def _hash_file(entry: "os.DirEntry[str]", cached: tuple[Stamp, str] | None) -> tuple[Stamp, str]:
    """Return stamp and hash of a file; a zero time in the stamp keeps it out of the cache."""
    try:
        if not entry.is_file():
            return (0, 0, 0), NOT_OPENED  # a pipe would never end
        stat = entry.stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if cached and cached[0] == stamp:
            return cached
        digest = sha256(Path(entry.path))
    except OSError:
        return (0, 0, 0), NOT_OPENED
    is_cacheable = time.time_ns() - max(stamp[1:]) > MIN_AGE_NS
    return stamp if is_cacheable else (stamp[0], 0, 0), digest


def _hash_cache_path(settings: Settings) -> Path:
    return settings.ledger / ".hashes.parquet"


def _read_hash_cache(settings: Settings) -> dict[str, tuple[Stamp, str]]:
    try:
        columns = pq.read_table(_hash_cache_path(settings)).to_pydict()
    except (FileNotFoundError, pa.ArrowInvalid):
        return {}  # every file is hashed again
    stamps = zip(columns["bytes"], columns["modified"], columns["changed"], strict=True)
    return dict(zip(columns["path"], zip(stamps, columns["sha256"], strict=True), strict=True))


def _write_hash_cache(settings: Settings, hashes: dict[str, tuple[Stamp, str]]) -> None:
    rows = [
        {"path": path, "bytes": stamp[0], "modified": stamp[1], "changed": stamp[2], "sha256": sha}
        for path, (stamp, sha) in hashes.items()
        if stamp[1]
    ]
    names = ["path", "bytes", "modified", "changed", "sha256"]
    table = pa.table({name: [row[name] for row in rows] for name in names})
    path = _hash_cache_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    pq.write_table(table, fresh)
    fresh.rename(path)
