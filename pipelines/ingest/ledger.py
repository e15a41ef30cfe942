"""The ledger: the files that count for each business date, so that each content counts once.

A file is identified by its content. `known_on` is the business date of the lake partition that
holds its rows: the date of its folder while that date is open, else the date of the run that
found it (late).
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from expectations.contracts import load
from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json, read_json_lines
from pipelines.ingest.landing import LandedFile

CLOSED = "closed.json"
"""The file that names the last closed date."""

State = Literal["taken", "copy", "replaced", "rejected"]
"""`taken`: its rows count; `copy`: another file with the same content counts; `replaced`: a newer
version of the same path arrived before the date was closed; `rejected`: its name or folder is
invalid."""


@dataclass(frozen=True)
class Entry:
    """One version of one file."""

    feed: str
    source: str
    landed_on: str
    """ISO date of the folder; empty where the folder is no date."""
    path: str
    version: int
    sha256: str
    bytes: int
    known_on: str
    is_late: bool
    state: State = "taken"
    note: str = ""

    @property
    def order(self) -> tuple[str, str, str, int]:
        """The sort key of entries; of equal contents the first entry counts."""
        return self.known_on, self.landed_on, self.path, self.version

    @property
    def content(self) -> tuple[str, str, str, str]:
        """The identity of a content; files with equal identities are copies.

        A full catalogue states the terms of its date, so the same bytes on another date are new
        (terms may change and change back); in other feeds they are a copy. Empty files are never
        copies, so that each is reported.
        """
        is_catalogue = bool(self.feed) and load(self.feed).full_catalogue
        stated_on = self.landed_on if is_catalogue else ""
        return self.feed, self.source, stated_on if self.bytes else self.path, self.sha256


@dataclass(frozen=True)
class Ledger:
    """All entries, in their order, and the last closed date."""

    entries: tuple[Entry, ...] = ()
    closed_through: date | None = None

    @property
    def by_day(self) -> dict[str, list[Entry]]:
        """The entries by the day (ISO) on which they became known."""
        days = groupby(self.entries, key=lambda entry: entry.known_on)
        return {day: list(entries) for day, entries in days}


def read_ledger(settings: Settings) -> Ledger:
    """Return the ledger; an empty one before the first run.

    Raises:
        IntegrityError: A file of the ledger is damaged or lost. Without it, files that were counted
            would count again, as late ones.
    """
    paths = sorted(settings.ledger.glob("date=*.jsonl"))
    entries = [entry for path in paths for entry in _read_day(path)]
    closed = _read_closed(settings.ledger / CLOSED)
    _require_complete(settings, {path.stem for path in paths}, closed)
    return Ledger(_mark_copies(entries), closed)


def _read_day(path: Path) -> list[Entry]:
    try:
        return [Entry(**entry) for entry in read_json_lines(path)]
    except TypeError:
        raise IntegrityError(describe_damage(path, "an entry lacks a key")) from None


def _read_closed(path: Path) -> date | None:
    """Return the last closed date; None before the first run."""
    try:
        return date.fromisoformat(read_json(path)["closed_through"])
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        raise IntegrityError(describe_damage(path, "it names no date")) from None


def _require_complete(settings: Settings, days: set[str], closed: date | None) -> None:
    """Refuse a ledger that lacks the entries of a published partition, or its last closed date.

    A run that was killed before it wrote the ledger has left its work folder; the next run
    completes it.
    """
    if any((settings.home / "work" / "ingest").glob("date=*")):
        return
    for manifest in sorted(settings.lake.glob(f"*/date=*/{MANIFEST}")):
        day = manifest.parent.name
        if closed is not None and day > f"date={closed}":
            continue
        if day not in days and read_json(manifest).get("ledger"):
            lost = settings.ledger / f"{day}.jsonl"
            raise IntegrityError(describe_damage(lost, "it was removed"))
        if closed is None and day in days:
            raise IntegrityError(describe_damage(settings.ledger / CLOSED, "it was removed"))


def write_ledger(settings: Settings, before: Ledger, after: Ledger) -> None:
    """Write the days that changed, then the last closed date; safe to repeat."""
    settings.ledger.mkdir(parents=True, exist_ok=True)
    previous = before.by_day
    for day, entries in after.by_day.items():
        if entries != previous.get(day):
            _write_day(settings.ledger / f"date={day}.jsonl", entries)
    if after.closed_through is not None:
        write_json(settings.ledger / CLOSED, {"closed_through": str(after.closed_through)})


def _write_day(path: Path, entries: list[Entry]) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry_as_json(entry)) + "\n" for entry in entries)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def entry_as_json(entry: Entry) -> dict[str, Any]:
    """Return `entry` as in manifests and ledger files."""
    return dict(vars(entry))


def register_files(ledger: Ledger, landed: Iterable[LandedFile], day: date) -> Ledger:
    """Return `ledger` with the new files of a run for `day`; `closed_through` is unchanged.

    A known content under its known path changes nothing. New content under a known path is its
    next version. Files of later dates wait for the runs of these dates; late files wait for the
    next new date if `day` is not the newest.
    """
    newest = {entry.path: entry for entry in sorted(ledger.entries, key=lambda e: e.version)}
    entries = {(entry.path, entry.version): entry for entry in ledger.entries}
    for file in landed:
        before = newest.get(file.path)
        known_on = _known_on(file.landed_on, ledger.closed_through, day)
        if known_on is None or known_on > day or (before and before.sha256 == file.sha256):
            continue
        entry = _make_entry(file, known_on, before.version + 1 if before else 1)
        entries[entry.path, entry.version] = entry
        if before and before.known_on == entry.known_on:
            entries[before.path, before.version] = replace(before, state="replaced", note="")
    return Ledger(_mark_copies(entries.values()), ledger.closed_through)


def remove_entries(ledger: Ledger, removed: set[tuple[str, int]], states: Ledger) -> Ledger:
    """Return `ledger` without the entries (path, version) `removed`.

    The versions that they had replaced get their state in `states` again.
    """
    earlier = {(entry.path, entry.version): entry for entry in states.entries}
    remaining = [
        earlier.get((entry.path, entry.version), entry)
        if (entry.path, entry.version + 1) in removed
        else entry
        for entry in ledger.entries
        if (entry.path, entry.version) not in removed
    ]
    return Ledger(_mark_copies(remaining), ledger.closed_through)


def _known_on(landed_on: date | None, closed: date | None, day: date) -> date | None:
    """Return the date from which a file counts in a run for `day`; None if it has to wait."""
    if landed_on is not None and (closed is None or landed_on > closed or landed_on == day):
        return landed_on
    return day if closed is None or day >= closed else None


def _make_entry(file: LandedFile, known_on: date, version: int) -> Entry:
    return Entry(
        feed=file.feed,
        source=file.source,
        landed_on=str(file.landed_on or ""),
        path=file.path,
        version=version,
        sha256=file.sha256,
        bytes=file.bytes,
        known_on=str(known_on),
        is_late=file.landed_on is not None and known_on > file.landed_on,
        state="rejected" if file.problem else "taken",
        note=file.problem,
    )


def _mark_copies(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries in order; of each content the first is taken, the others are copies."""
    marked: list[Entry] = []
    by_content = sorted(entries, key=lambda entry: (entry.content, entry.order))
    for _, group in groupby(by_content, key=lambda entry: entry.content):
        first: Entry | None = None
        for entry in group:
            if entry.state in {"rejected", "replaced"}:
                marked.append(entry)
            elif first is None:
                first = replace(entry, state="taken", note="")
                marked.append(first)
            else:
                marked.append(replace(entry, state="copy", note=f"same content as {first.path}"))
    return tuple(sorted(marked, key=lambda entry: entry.order))
