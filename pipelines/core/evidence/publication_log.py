"""The publication log: a leaf for each published manifest and each decision, in a Merkle tree.

The ledger of a day and the record of what was delivered have no manifest; each of their files is a
leaf. A leaf is a name below the home and the SHA-256 of the bytes there, as `sha256sum` prints
them. The tree (`merkle_tree`) has one root over all leaves, its head. Leaves are only appended, so
a head that somebody has kept proves the leaves before it: the report of each day states the head
over the day's own folders, and the reports of later days state heads over that report.

    evidence/log/0000000412.date=2026-03-05.json
        {"first": 412, "leaves": [["marts/date=2026-03-05/manifest.json", "9f86…"], …],
         "size": 455, "root": "1c2f…", "frontier": [ … ]}

A file is a segment: what one look at a group of names found new, with the head after it. It is
written whole and never changed. The group is in its name, so a look reads the segments of its own
group only. A manifest that is published again with other bytes is a further leaf, the one that
counts.
"""

import fcntl
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.evidence.merkle_tree import Frontier, hash_leaf
from pipelines.core.evidence.sign_offs import read_lines, sign_off_file
from pipelines.core.home.erasures import read_tombstones
from pipelines.core.home.schema_version import read_replay
from pipelines.core.publishing import MANIFEST, sync, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json

DAY_FOLDERS = (
    *("lake/*", "quarantine/*", "marts", "pairs", "matches", "offers", "unmatched", "reasons"),
    *("settlement", "reports"),
)
"""Roots whose `date=D` is a published folder."""
DAY_FILES = ("ledger/date={day}.jsonl", "delivered/date={day}/*", "delivered/date={day}/sealed/*")
"""Files of a day that no manifest names."""
DAY_GROUPS = ("outbox", "outbox/channels")
"""Roots whose `date=D` holds a published folder for each party."""
REGISTRY, STATEMENTS = "registry", "outbox/statements"
"""Roots of published folders that belong to no single date: `as_of=D`, `month=M/INSTITUTION`."""
UNDATED = "undated"
"""The group of their leaves."""
DATE = re.compile(r"/(date=\d{4}-\d\d-\d\d)[/.]")
SEGMENT = re.compile(r"^(\d{10})\.([a-z_]+(?:=[\d-]+)?)\.json$")


@dataclass(frozen=True)
class Head:
    """The root over the first `size` leaves."""

    size: int
    root: str
    """In hexadecimal."""

    def __str__(self) -> str:
        """Return the head as `banyan verify --head` takes it."""
        return f"{self.size}:{self.root}"


@dataclass(frozen=True)
class Leaf:
    """What was published under a name."""

    name: str
    """The path below the home; of a decision the ledger's with `#` and its number."""
    sha256: str

    @property
    def hash(self) -> bytes:
        """The hash of the leaf in the tree."""
        return hash_leaf(f"{self.sha256}  {self.name}\n".encode())


@dataclass(frozen=True)
class Segment:
    """Some leaves that were appended together, and the head after them."""

    path: Path
    group: str
    first: int
    leaves: tuple[Leaf, ...]
    head: Head
    frontier: tuple[bytes, ...]


def log_day(settings: Settings, day: date, *, with_report: bool = True) -> None:
    """Append a leaf for each manifest of `day`, and of folders without a date, that is new.

    Args:
        settings: Settings of the home; of a replay nothing is logged.
        day: The business date.
        with_report: False before the report is published, which states the head.

    Raises:
        IntegrityError: A segment of the log is damaged; nothing is appended.
    """
    if read_replay(settings):
        return
    with _lock(settings):
        _append_new(settings, UNDATED, _list_undated(settings, day))
        names = _list_day(settings, day)
        report = f"{settings.reports.name}/date={day}/{MANIFEST}"
        _append_new(settings, f"date={day}", [n for n in names if with_report or n != report])


def log_home(settings: Settings) -> None:
    """Log everything that was published before there was a log; repeating it changes nothing."""
    names = list_published(settings)
    by_group: dict[str, list[str]] = {UNDATED: []}
    for name in names:
        by_group.setdefault(_find_group(name), []).append(name)
    with _lock(settings):
        for group in (UNDATED, *sorted(by_group.keys() - {UNDATED})):
            _append_new(settings, group, by_group[group])


def log_again(settings: Settings, day: date) -> None:
    """Log what a step has published of a date that is in the log already."""
    if any(list_segments(settings, f"date={day}")):
        log_day(settings, day)


def log_erasure(settings: Settings, erasure: str, changed: Iterable[str]) -> None:
    """Log again what an erasure has changed: files that have a leaf, manifests with its tombstone.

    A home without a log gets none by this, and a date that was not logged stays so.
    """
    if not any(list_segments(settings)):
        return
    paths, by_group = set(changed), defaultdict(list)
    for name in list_published(settings):
        tombstones = read_tombstones((settings.home / name).parent) if _is_manifest(name) else ()
        if name in paths or erasure in {tombstone["id"] for tombstone in tombstones}:
            by_group[_find_group(name)].append(name)
    with _lock(settings):
        for group, names in sorted(by_group.items()):
            if any(list_segments(settings, group)):
                _append_new(settings, group, names)


def _is_manifest(name: str) -> bool:
    """Return whether a name is that of a manifest."""
    return name.endswith(f"/{MANIFEST}")


def _find_group(name: str) -> str:
    """Return the group of a name: its date, or `UNDATED`."""
    dated = DATE.search(name)
    return dated[1] if dated else UNDATED


def log_sign_offs(settings: Settings, day: date) -> None:
    """Append a leaf for each decision on `day` that has none."""
    path = sign_off_file(settings, day)
    name = path.relative_to(settings.home).as_posix()
    lines = enumerate(read_lines(path), 1)
    leaves = [Leaf(f"{name}#{number}", hash_bytes(line)) for number, line in lines]
    with _lock(settings):
        _append(settings, f"signed={day}", leaves)


def find_head(settings: Settings) -> Head:
    """Return the present head of the log."""
    newest = _read_newest(settings)
    return newest.head if newest else Head(0, Frontier().root.hex())


def find_day_head(settings: Settings, day: date) -> Head | None:
    """Return the head over the newest folders of `day` but its report; None if it has no leaf.

    It stays the same as long as no folder of the day is published with other bytes. Of a replay it
    is the head that the published report states.
    """
    if replay := read_replay(settings):
        return Head(**replay["log"]) if replay.get("log") else None
    report = f"{settings.reports.name}/"
    for segment in reversed(list(read_group(settings, f"date={day}"))):
        if any(not leaf.name.startswith(report) for leaf in segment.leaves):
            return segment.head
    return None


def read_log(settings: Settings) -> Iterator[Segment]:
    """Yield every segment, the oldest first.

    Raises:
        IntegrityError: A segment is damaged.
    """
    for path in list_segments(settings):
        yield read_segment(path)


def read_group(settings: Settings, group: str) -> Iterator[Segment]:
    """Yield the segments of one group, the oldest first.

    Raises:
        IntegrityError: A segment is damaged.
    """
    for path in list_segments(settings, group):
        yield read_segment(path)


def read_segment(path: Path) -> Segment:
    """Return the segment in `path`.

    Raises:
        IntegrityError: It is damaged.
    """
    found = SEGMENT.match(path.name)
    stated = read_json(path)
    if found is None or stated.get("first") != int(found[1]):
        raise IntegrityError(describe_damage(path, "its name is not that of its first leaf"))
    try:
        return Segment(
            path=path,
            group=found[2],
            first=int(found[1]),
            leaves=tuple(Leaf(str(name), str(sha256)) for name, sha256 in stated["leaves"]),
            head=Head(int(stated["size"]), str(stated["root"])),
            frontier=tuple(map(bytes.fromhex, stated["frontier"])),
        )
    except (LookupError, TypeError, ValueError):
        raise IntegrityError(describe_damage(path, "it is no segment of the log")) from None


def hash_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def list_published(settings: Settings) -> list[str]:
    """Return the name of everything that has a leaf but decisions, of all dates."""
    undated = (f"{REGISTRY}/as_of=*/{MANIFEST}", f"{STATEMENTS}/month=*/*/{MANIFEST}")
    return _list(settings, *_day_patterns("*"), *undated)


def _list_day(settings: Settings, day: date) -> list[str]:
    return _list(settings, *_day_patterns(f"{day}"))


def _day_patterns(day: str) -> list[str]:
    folders = [f"{root}/date={day}/{MANIFEST}" for root in DAY_FOLDERS]
    groups = [f"{root}/date={day}/*/{MANIFEST}" for root in DAY_GROUPS]
    return [*folders, *groups, *(pattern.format(day=day) for pattern in DAY_FILES)]


def _list_undated(settings: Settings, day: date) -> list[str]:
    """Return the manifests without a date that may be new: models, and statements not logged yet.

    A statement is published once; of the month of `day` and the one before it each is looked at.
    """
    known = {leaf.name for each in read_group(settings, UNDATED) for leaf in each.leaves}
    month_before = date.fromordinal(day.replace(day=1).toordinal() - 1)
    recent = (f"month={day:%Y-%m}", f"month={month_before:%Y-%m}")
    statements = [
        name
        for name in _list(settings, f"{STATEMENTS}/month=*/*/{MANIFEST}")
        if name not in known or name.split("/")[-3] in recent
    ]
    return sorted([*_list(settings, f"{REGISTRY}/as_of=*/{MANIFEST}"), *statements])


def _list(settings: Settings, *patterns: str) -> list[str]:
    """Return the names below the home that match; a folder that is being written is none."""
    paths = {path for pattern in patterns for path in settings.home.glob(pattern)}
    names = sorted(path.relative_to(settings.home) for path in paths if path.is_file())
    return [name.as_posix() for name in names if not any(part[0] == "." for part in name.parts)]


def _append_new(settings: Settings, group: str, names: Iterable[str]) -> None:
    leaves = []
    for name in names:
        try:
            leaves.append(Leaf(name, hash_bytes((settings.home / name).read_bytes())))
        except FileNotFoundError:
            continue  # it is being published again at this moment; its step logs it
    _append(settings, group, leaves)


def _append(settings: Settings, group: str, leaves: Iterable[Leaf]) -> None:
    """Append the leaves that are not the newest of their name, as one segment."""
    newest = {leaf.name: leaf for each in read_group(settings, group) for leaf in each.leaves}
    fresh = [leaf for leaf in leaves if newest.get(leaf.name) != leaf]
    if not fresh:
        return
    last = _read_newest(settings)
    frontier = Frontier(last.head.size, last.frontier) if last else Frontier()
    first = frontier.size
    for leaf in fresh:
        frontier.append(leaf.hash)
    path = log_folder(settings) / f"{first:010d}.{group}.json"
    content: dict[str, Any] = {
        "first": first,
        "leaves": [[leaf.name, leaf.sha256] for leaf in fresh],
        "size": frontier.size,
        "root": frontier.root.hex(),
        "frontier": [each.hex() for each in frontier.hashes],
    }
    write_json(path, content)
    sync(path.parent)


def log_folder(settings: Settings) -> Path:
    """Return the folder of the segments."""
    return settings.evidence / "log"


def list_segments(settings: Settings, group: str = "") -> list[Path]:
    """Return the files of the segments, of one group or of all, the oldest first."""
    ending = f"*.{group}.json" if group else "*.json"
    paths = log_folder(settings).glob(ending)
    return sorted(path for path in paths if not path.name.startswith("."))


def _read_newest(settings: Settings) -> Segment | None:
    paths = list_segments(settings)
    return read_segment(paths[-1]) if paths else None


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Hold the log, so that two processes don't append at once."""
    settings.evidence.mkdir(parents=True, exist_ok=True)
    with (settings.evidence / ".lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
