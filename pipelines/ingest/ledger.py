"""Which files were taken in for which day: the memory that makes a file count once.

A file is its content. `known_on` is the business date whose lake partition holds its rows: the
date of its folder while that day is open, else the day on which it was found (late).
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
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.ingest.landing import Landed

State = Literal["taken", "copy", "replaced", "refused"]
"""`taken`: its rows count; `copy`: the same content counts elsewhere; `replaced`: a newer version
of the same path came before the day was closed; `refused`: its name or place is impossible."""


@dataclass(frozen=True)
class Entry:
    """One version of one file, as the ledger keeps it."""

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
        """Earlier entries come first; of equal contents the first one counts."""
        return self.known_on, self.landed_on, self.path, self.version

    @property
    def content(self) -> tuple[str, str, str, str]:
        """What makes two files the same.

        A full catalogue says "these are the terms of this date", so the same bytes on another
        date are news (terms may change and change back); elsewhere they say nothing new. A file
        without a byte has no content that another could have: each is told of.
        """
        is_catalogue = bool(self.feed) and load(self.feed).full_catalogue
        said_on = self.landed_on if is_catalogue else ""
        return self.feed, self.source, said_on if self.bytes else self.path, self.sha256


@dataclass(frozen=True)
class Ledger:
    """All entries, in their order, and the greatest day that was collected."""

    entries: tuple[Entry, ...] = ()
    closed_through: date | None = None

    @property
    def by_day(self) -> dict[str, list[Entry]]:
        """The entries of each day (ISO) on which any became known."""
        days = groupby(self.entries, key=lambda entry: entry.known_on)
        return {day: list(entries) for day, entries in days}


def read_ledger(settings: Settings) -> Ledger:
    """Return the ledger; an empty one before the first run."""
    entries = [
        Entry(**json.loads(line))
        for path in sorted(settings.ledger.glob("date=*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    try:
        closed = json.loads((settings.ledger / "closed.json").read_text("utf-8"))
    except FileNotFoundError:
        return Ledger(_settled(entries))
    return Ledger(_settled(entries), date.fromisoformat(closed["closed_through"]))


def write_ledger(settings: Settings, before: Ledger, after: Ledger) -> None:
    """Write the days that differ, then how far the days are closed; safe to repeat."""
    settings.ledger.mkdir(parents=True, exist_ok=True)
    stood = before.by_day
    for day, entries in after.by_day.items():
        if entries != stood.get(day):
            _write_day(settings.ledger / f"date={day}.jsonl", entries)
    if after.closed_through is not None:
        write_json(settings.ledger / "closed.json", {"closed_through": str(after.closed_through)})


def _write_day(path: Path, entries: list[Entry]) -> None:
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(as_json(entry)) + "\n" for entry in entries)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def as_json(entry: Entry) -> dict[str, Any]:
    """Return `entry` as manifests and ledger files hold it."""
    return dict(vars(entry))


def taken_in(ledger: Ledger, landed: Iterable[Landed], day: date) -> Ledger:
    """Return `ledger` with what a run for `day` finds new; `closed_through` stays as it is.

    A file whose content the ledger knows under its path changes nothing. New content under a
    known path is its next version. Files of later days wait for those; files that came too late
    wait for the next new day if `day` is not the newest.
    """
    newest = {entry.path: entry for entry in sorted(ledger.entries, key=lambda e: e.version)}
    entries = {(entry.path, entry.version): entry for entry in ledger.entries}
    for file in landed:
        before = newest.get(file.path)
        known_on = _known_on(file.landed_on, ledger.closed_through, day)
        if known_on is None or known_on > day or (before and before.sha256 == file.sha256):
            continue
        entry = _entry(file, known_on, before.version + 1 if before else 1)
        entries[entry.path, entry.version] = entry
        if before and before.known_on == entry.known_on:
            entries[before.path, before.version] = replace(before, state="replaced", note="")
    return Ledger(_settled(entries.values()), ledger.closed_through)


def without(ledger: Ledger, dropped: set[tuple[str, int]], states: Ledger) -> Ledger:
    """Return `ledger` without the entries (path, version) `dropped`.

    What they had replaced gets back the state that it has in `states`.
    """
    earlier = {(entry.path, entry.version): entry for entry in states.entries}
    kept = [
        earlier.get((entry.path, entry.version), entry)
        if (entry.path, entry.version + 1) in dropped
        else entry
        for entry in ledger.entries
        if (entry.path, entry.version) not in dropped
    ]
    return Ledger(_settled(kept), ledger.closed_through)


def _known_on(landed_on: date | None, closed: date | None, day: date) -> date | None:
    if landed_on is not None and (closed is None or landed_on > closed or landed_on == day):
        return landed_on
    return day if closed is None or day >= closed else None


def _entry(file: Landed, known_on: date, version: int) -> Entry:
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
        state="refused" if file.problem else "taken",
        note=file.problem,
    )


def _settled(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries in order, the first of each content taken and the others its copies."""
    kept: list[Entry] = []
    by_content = sorted(entries, key=lambda entry: (entry.content, entry.order))
    for _, same in groupby(by_content, key=lambda entry: entry.content):
        first: Entry | None = None
        for entry in same:
            if entry.state in {"refused", "replaced"}:
                kept.append(entry)
            elif first is None:
                first = replace(entry, state="taken", note="")
                kept.append(first)
            else:
                kept.append(replace(entry, state="copy", note=f"same content as {first.path}"))
    return tuple(sorted(kept, key=lambda entry: entry.order))
