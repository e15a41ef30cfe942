"""What a run has to do: which partitions to build from which files, dealt to a few shards."""

import logging
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from expectations.contracts import feeds, load
from pipelines.core.publishing import MANIFEST, read_manifest, restore
from pipelines.core.settings import Settings
from pipelines.ingest.landing import Landed, landed_files
from pipelines.ingest.ledger import Entry, Ledger, as_json, read_ledger, taken_in, without
from pipelines.ingest.plan_file import Partition, Plan, Task

LEAST_SHARDS, MOST_SHARDS = 2, 16
"""Two cores have two shards to work on where there are two sources; a mapped Airflow task costs
one to two seconds, so there are never many."""

log = logging.getLogger(__name__)


def make_plan(settings: Settings, day: date) -> Plan:
    """Compare landing/ with the ledger and the lake, and say what is to be done.

    Nothing is published; what a killed run left between two renames is put back.
    """
    before = read_ledger(settings)
    landed = landed_files(settings, max(day, before.closed_through or day))
    after = taken_in(before, landed, day)
    where = _where(landed)
    stale = _stale_partitions(settings, after, day)
    standing = _unreadable(settings, after, stale, where)
    if standing:
        _tell_standing(standing)
        after = _as_it_stands(before, after, standing)
    building = stale - standing
    tasks = [
        Task(entry, where.get(_place(entry), ""))
        for entry in after.entries
        if entry.state in {"taken", "refused"} and (entry.feed, entry.known_on) in building
    ]
    shards = _dealt(tasks, settings.shard_bytes)
    return Plan(str(day), after, tuple(sorted(building)), tuple(sorted(standing)), shards)


def _stale_partitions(settings: Settings, ledger: Ledger, day: date) -> set[Partition]:
    """Return every partition that isn't published as the ledger says, and all of `day`."""
    wanted: dict[Partition, list[dict[str, Any]]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.feed:
            wanted[entry.feed, entry.known_on].append(as_json(entry))
    differing = {
        partition
        for partition, entries in wanted.items()
        if _published_entries(settings, *partition) != entries
    }
    return differing | {(feed, str(day)) for feed in feeds()} | _after(differing, wanted)


def _after(differing: set[Partition], wanted: Iterable[Partition]) -> set[Partition]:
    """Return the partitions whose duplicates depend on one that differs."""
    first: dict[str, str] = {}
    for feed, day in differing:
        if load(feed).unique_within == "history" or load(feed).full_catalogue:
            first[feed] = min(day, first.get(feed, day))
    return {(feed, day) for feed, day in wanted if feed in first and day > first[feed]}


def _published_entries(settings: Settings, feed: str, day: str) -> list[dict[str, Any]] | None:
    folders = [_folder(root, feed, day) for root in (settings.lake, settings.quarantine)]
    for folder in folders:
        restore(folder)
    if not all((folder / MANIFEST).exists() for folder in folders):
        return None
    entries: list[dict[str, Any]] = read_manifest(folders[0])["ledger"]
    return entries


def _folder(root: Path, feed: str, day: str) -> Path:
    return root / feed / f"date={day}"


def _where(landed: Iterable[Landed]) -> dict[tuple[str, str, str], str]:
    """Return where each content lies; the same bytes under another name do as well."""
    return {(file.feed, file.source, file.sha256): file.path for file in reversed(list(landed))}


def _place(entry: Entry) -> tuple[str, str, str]:
    return entry.feed, entry.source, entry.sha256


def _unreadable(
    settings: Settings,
    ledger: Ledger,
    stale: set[Partition],
    where: dict[tuple[str, str, str], str],
) -> set[Partition]:
    """Return the published partitions that cannot be built again: a file of theirs has gone."""
    gone = {
        (entry.feed, entry.known_on)
        for entry in ledger.entries
        if entry.state == "taken" and _place(entry) not in where
    }
    return {
        partition
        for partition in gone & stale
        if _published_entries(settings, *partition) is not None
    }


def _as_it_stands(before: Ledger, after: Ledger, standing: set[Partition]) -> Ledger:
    """Return `after` without what is new in the partitions that stand."""
    known = {(entry.path, entry.version) for entry in before.entries}
    new = {
        (entry.path, entry.version)
        for entry in after.entries
        if (entry.feed, entry.known_on) in standing
    } - known
    return without(after, new, before)


def _tell_standing(standing: Iterable[Partition]) -> None:
    for feed, day in sorted(standing):
        log.warning(
            "lake/%s/date=%s is not built again: at least one landed file that it was built from "
            "has been overwritten or removed since. What is published stands, and new files for "
            "it wait for the next new day. Put the file back as it was received (its SHA-256 is "
            "in ledger/date=%s.jsonl) to build it again.",
            feed,
            day,
            day,
        )


def _dealt(tasks: Sequence[Task], shard_bytes: int) -> tuple[tuple[Task, ...], ...]:
    """Deal the sources of all feeds to shards of about equal bytes, the biggest first.

    All dates of a source stay together, because its keys are unique over all of them.
    """
    atoms: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in tasks:
        atoms[task.entry.feed, task.entry.source].append(task)
    sizes = {name: sum(t.entry.bytes for t in group) for name, group in atoms.items()}
    wanted = max(LEAST_SHARDS, math.ceil(sum(sizes.values()) / shard_bytes))
    count = max(1, min(wanted, MOST_SHARDS, len(atoms)))
    shards: list[list[Task]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(atoms, key=lambda name: (-sizes[name], name)):
        lightest = loads.index(min(loads))
        shards[lightest] += atoms[name]
        loads[lightest] += sizes[name] + 1
    return tuple(
        tuple(sorted(shard, key=lambda t: (t.entry.feed, *t.entry.order))) for shard in shards
    )
