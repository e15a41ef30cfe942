"""The files in landing/, each with its feed, source, date and content hash."""

import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from expectations.contracts import feeds
from pipelines.core.home.erasures import read_changed_landings
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings
from pipelines.ingest.misplaced import HEADER_NOTE, find_feed

SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
FORMATS = (".csv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz")
DEPTH = 4
"""FEED/SOURCE/YYYY-MM-DD/NAME."""
NOT_OPENED = "unreadable"
"""Takes the place of the hash of a file that could not be opened."""
MARKERS = frozenset({".DS_Store", ".directory", ".gitignore", ".gitkeep", ".keep"})
"""Hidden files of file managers and version control."""
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
    """Of what was received: an erasure changes the file, and not what it is."""
    problem: str = ""
    """Why its name or folder is invalid; empty where it is valid."""
    stored_sha256: str = ""
    """Of the present bytes, if an erasure changed them."""


@dataclass(frozen=True)
class UnreadPath:
    """A path below landing/ that is no landed file: hidden, unfinished, or an empty folder."""

    path: str
    feed: str
    source: str
    landed_on: date | None
    is_folder: bool
    since: datetime
    """When it was modified last."""
    is_named_as_file: bool
    """Whether only its first dot hides it: `.rows.csv` is no name of a transfer program's."""


def list_landed_files(settings: Settings, through: date) -> list[LandedFile]:
    """Return every file of a date up to `through`, sorted by path.

    Names that begin with a dot or end in `.part` are still being written and are left out.
    Hashes are cached beside the ledger, so a file is hashed once and not every day.
    """
    cache, changed = _read_hash_cache(settings), read_changed_landings(settings.home)
    hashes: dict[str, tuple[Stamp, str]] = {}
    files = []
    root = os.path.realpath(settings.landing)
    for found in _walk(settings.landing):
        path, entry = found.path, found.entry
        feed, source, landed_on, problem = _parse_path(path)
        if not found.is_landed or (landed_on is not None and landed_on > through):
            continue
        stamp, digest, error = _hash_file(found, cache.get(path), root)
        hashes[path] = (stamp, digest)
        if error:
            problem = error
        elif not entry.path.isprintable():  # nor are bytes that are no UTF-8
            problem = "its path holds unprintable characters"
        elif landed_on is None and (resembled := find_feed(Path(entry.path))):
            problem = f"{problem}; {HEADER_NOTE}{resembled}"
        known = changed.get(path)
        is_erased = known is not None and known.present == digest
        content, stored = (known.received, digest) if known and is_erased else (digest, "")
        files.append(LandedFile(path, feed, source, landed_on, stamp[0], content, problem, stored))
    if hashes.items() - cache.items():
        _write_hash_cache(settings, cache | hashes)
    return sorted(files, key=lambda file: file.path)


def list_paths(settings: Settings) -> Iterator[tuple[str, str, str, date]]:
    """Yield path, feed, source and date of every file in a valid folder, of any date."""
    for found in _walk(settings.landing):
        feed, source, landed_on, _ = _parse_path(found.path)
        if landed_on is not None and found.is_landed:
            yield found.path, feed, source, landed_on


def list_unread_paths(settings: Settings) -> Iterator[UnreadPath]:
    """Yield the hidden and unfinished files, and the empty folders that are named like a file."""
    for found in _walk(settings.landing):
        if found.is_landed or found.entry.name in MARKERS:
            continue
        try:
            stat = found.entry.stat()
        except OSError:
            continue  # it was removed
        if stat.st_size or found.is_folder:
            feed, source, landed_on, _ = _parse_path(found.path)
            since = datetime.fromtimestamp(stat.st_mtime, UTC)
            named = found.entry.name.endswith(FORMATS)
            yield UnreadPath(found.path, feed, source, landed_on, found.is_folder, since, named)


def list_closed_folders(settings: Settings) -> list[str]:
    """Return the folders below landing/ that can't be listed, so that no run reads their files."""
    return [found.path for found in _walk(settings.landing) if found.error]


@dataclass(frozen=True)
class _Found:
    """A file, an empty folder that is named like one, or a folder that can't be listed."""

    path: str
    entry: "os.DirEntry[str]"
    error: str = ""
    """The operating system's error, if it is a folder that can't be listed."""

    @property
    def is_folder(self) -> bool:
        return not self.error and _is_folder(self.entry)

    @property
    def is_landed(self) -> bool:
        """Whether it is a file that its sender has finished, or may hide some."""
        name = self.entry.name
        is_unfinished = name.startswith(".") or name.endswith(".part")
        return bool(self.error) or not (is_unfinished or self.is_folder)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself


def _walk(folder: Path) -> Iterator[_Found]:
    """Yield every file, at any depth, with its path relative to `folder`; links are followed."""
    pending: list[_Found] = []
    try:
        pending = _list_folder(folder, "") if folder.is_dir() else []
    except OSError as error:
        _warn_of_folder("", error)
    seen = {os.path.realpath(folder)}
    while pending:
        found = pending.pop()
        if found.error or not _is_folder(found.entry):
            yield found
            continue
        real = os.path.realpath(found.entry.path)
        if real in seen:
            continue  # a link to a parent folder would make an endless loop
        seen.add(real)
        try:
            within = _list_folder(Path(found.entry.path), f"{found.path}/")
        except OSError as error:
            _warn_of_folder(found.path, error)
            yield replace(found, error=f"the folder cannot be listed: {error.strerror}")
            continue
        if not within and found.entry.name.endswith(FORMATS):
            yield found
        pending += within


def _warn_of_folder(path: str, error: OSError) -> None:
    log.warning(
        "landing/%s cannot be listed (%s): none of its files was read. Allow the platform to read "
        "the folder; the next run reads its files.",
        path,
        error.strerror,
    )


def _list_folder(folder: Path, prefix: str) -> list[_Found]:
    """Return what a folder holds, sorted by name."""
    with os.scandir(folder) as entries:
        return [
            _Found(prefix + os.fsencode(entry.name).decode("utf-8", "backslashreplace"), entry)
            for entry in sorted(entries, key=lambda entry: entry.name)
        ]


def _parse_path(path: str) -> tuple[str, str, date | None, str]:
    """Return feed, source, date and problem of a path below landing/."""
    parts = path.split("/")
    feed = parts[0] if parts[0] in feeds() and len(parts) > 1 else ""
    if not feed:
        return "", "", None, f"no feed has that folder; there are: {', '.join(feeds())}"
    if len(parts) != DEPTH:
        source = parts[1] if is_source(parts[1]) else ""
        return feed, source, None, "the path of a file is landing/FEED/SOURCE/YYYY-MM-DD/NAME"
    _, source, folder, name = parts
    landed_on = parse_date(folder)
    if not SOURCE.fullmatch(source):
        problem = f"a source matches ^{SOURCE.pattern}$"
    elif landed_on is None:
        problem = "the folder is no date such as 2026-01-31"
    elif not name.endswith(FORMATS):
        problem = f"its name ends in none of {', '.join(FORMATS)}"
    else:
        problem = ""
    return feed, source, landed_on, problem


def is_source(name: str) -> bool:
    """Return whether the name of a folder is one of a source, and not a date."""
    return bool(SOURCE.fullmatch(name)) and parse_date(name) is None


def parse_date(folder: str) -> date | None:
    """Return the date that a folder is named after; None if it is none."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", folder):
        return None
    try:
        return date.fromisoformat(folder)
    except ValueError:
        return None


def _hash_file(
    found: _Found, cached: tuple[Stamp, str] | None, root: str
) -> tuple[Stamp, str, str]:
    """Return stamp, hash and problem of a file; a zero time in the stamp keeps it out of the cache.

    The problem is the operating system's error, if it can't be opened, or a link that leaves the
    folder `root`: its sender may not read what it names.
    """
    entry = found.entry
    if found.error:
        return (0, 0, 0), NOT_OPENED, found.error
    if _leaves(entry, root):
        return (0, 0, 0), NOT_OPENED, "it is a link that leaves landing/; send the file itself"
    try:
        stat = entry.stat()
        if not entry.is_file():  # a pipe would never end
            return (0, 0, 0), NOT_OPENED, "it is a pipe, socket or device and no file"
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if cached and cached[0] == stamp:
            return *cached, ""
        digest = sha256(Path(entry.path))
    except OSError as error:
        return (0, 0, 0), NOT_OPENED, f"it cannot be opened: {error.strerror}"
    is_cacheable = time.time_ns() - max(stamp[1:]) > MIN_AGE_NS
    return stamp if is_cacheable else (stamp[0], 0, 0), digest, ""


def _leaves(entry: "os.DirEntry[str]", root: str) -> bool:
    """Return whether an entry is a link to an existing file outside the folder `root`."""
    target = os.path.realpath(entry.path)
    is_outside = not target.startswith(f"{root}{os.sep}")
    return entry.is_symlink() and is_outside and Path(target).exists()


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
