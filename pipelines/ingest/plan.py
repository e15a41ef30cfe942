"""The plan of a run: the partitions to build, and the files of each shard.

It is saved as `plan.json` for the shards and for `collect`.
"""

import json
import logging
import math
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from expectations.contracts import contracts, feeds, load
from expectations.dbt_files import check_derived
from models.params import params
from pipelines.core.errors import BanyanError, InputMissing
from pipelines.core.home.erasures import read_tombstones
from pipelines.core.publishing import MANIFEST, read_manifest, restore
from pipelines.core.settings import PROJECT, Settings
from pipelines.core.stored_files import read_json
from pipelines.core.translation import plural
from pipelines.ingest.landing import LandedFile, list_landed_files
from pipelines.ingest.ledger import (
    Entry,
    Ledger,
    entry_as_json,
    read_ledger,
    register_files,
    remove_entries,
)

MIN_SHARDS, MAX_SHARDS = 2, 16
"""Two shards use two cores where there are two sources; a mapped Airflow task costs one to two
seconds, so there are never many."""

Partition = tuple[str, str]
"""Feed and ISO date."""
Content = tuple[str, str, str]
"""Feed, source and SHA-256."""

log = logging.getLogger(__name__)


class ErasedDay(BanyanError):
    """A day cannot be run again, because persons of it were erased since it was matched."""


@dataclass(frozen=True)
class Task:
    """One file that a shard reads, and the path of its content."""

    entry: Entry
    read_from: str
    """Path below landing/; empty where no file has the content any more."""
    stored_sha256: str = ""
    """Hash of the file's bytes, if an erasure changed them."""

    @property
    def expected_sha256(self) -> str:
        """Return the hash that the bytes must have."""
        return self.stored_sha256 or self.entry.sha256


@dataclass(frozen=True)
class Plan:
    """The ledger after the run, the partitions to build, and the files of each shard."""

    day: str
    ledger: Ledger
    partitions: tuple[Partition, ...]
    """The partitions to build, by feed and date."""
    frozen: tuple[Partition, ...]
    """The partitions that differ from the ledger but cannot be rebuilt, because a landed file of
    theirs is lost; they stay as published."""
    shards: tuple[tuple[Task, ...], ...]


def plan(settings: Settings, day: date) -> list[dict[str, int]]:
    """Find the new files in landing/ up to `day` and assign them to shards; at least one shard.

    Returns:
        One small dict per shard (`shard`, its number, `files` and `bytes`), for `ingest_shard`.

    Raises:
        ErasedDay: Persons of the matched day were erased since.
    """
    check_declarations()
    _refuse_erased_day(settings, day)
    made = make_plan(settings, day)
    _write_plan(settings, made)
    return [
        {"shard": number, "files": len(tasks), "bytes": sum(task.entry.bytes for task in tasks)}
        for number, tasks in enumerate(made.shards)
    ]


def _refuse_erased_day(settings: Settings, day: date) -> None:
    """Raise `ErasedDay` if persons of the matched `day` were erased since."""
    matches = settings.day_folder(settings.matches, day)
    if not (matches / MANIFEST).is_file():
        return
    for folder in (matches, settings.day_folder(settings.lake / "leads", day)):
        if found := read_tombstones(folder):
            name = folder.relative_to(settings.home)
            raise ErasedDay(
                f"{day} was matched, and persons of it were erased since ({name}/{MANIFEST} names "
                f"the erasure {found[-1]['id']}). Nothing was changed: run again, the other leads "
                "would get another plan, because nobody remembers what the erased ones used. "
                "What is published stays and can be delivered, sent and reported again, step by "
                "step; correct data with a file of the next date."
            )


def check_declarations() -> None:
    """Check that what is derived from the contracts is up to date, before a day begins.

    Raises:
        ContractError: A contract is invalid, a derived file is old, or a feature has no words.
    """
    check_derived(PROJECT, contracts())
    params()


def make_plan(settings: Settings, day: date) -> Plan:
    """Compare landing/ with the ledger and the lake; return the plan of the run for `day`.

    Nothing is published; a folder that a killed run left between two renames is restored.

    Raises:
        InputMissing: No file has ever landed in the home, up to `day`.
    """
    before = read_ledger(settings)
    landed = list_landed_files(settings, max(day, before.closed_through or day))
    _refuse_unused_home(settings, before, landed, day)
    after = register_files(before, landed, day)
    paths = _paths_by_content(landed)
    stale = _find_stale_partitions(settings, after, day)
    frozen = _find_frozen_partitions(settings, after, stale, paths)
    if frozen:
        _log_frozen(frozen)
        after = _without_new_entries(before, after, frozen)
    partitions = stale - frozen
    tasks = [
        Task(entry, *paths.get(_content(entry), ("", "")))
        for entry in after.entries
        if entry.state in {"taken", "rejected"} and (entry.feed, entry.known_on) in partitions
    ]
    shards = _assign_to_shards(tasks, settings.shard_bytes)
    return Plan(str(day), after, tuple(sorted(partitions)), tuple(sorted(frozen)), shards)


def _refuse_unused_home(
    settings: Settings, before: Ledger, landed: Sequence[LandedFile], day: date
) -> None:
    """Refuse to close dates of a home that has no file yet: its history could not be loaded later.

    Files outside of the folders of feeds and dates are no beginning either.
    """
    is_used = before.entries or before.closed_through is not None
    if is_used or any(file.landed_on is not None for file in landed):
        return
    misplaced = (
        f" Of {plural(len(landed), 'file')} elsewhere, the first is {landed[0].path}."
        if landed
        else ""
    )
    raise InputMissing(
        f"No file has landed for {day} or an earlier date: there is none in "
        f"{settings.landing}/FEED/SOURCE/YYYY-MM-DD/.{misplaced} {day} was not run and not closed, "
        "so nothing is lost: a run closes its date and all dates before it. Land the files, "
        "history included, then run the first date that has leads. Under a scheduler, pause the "
        "DAG until the files are there."
    )


def work_folder(settings: Settings, day: date) -> Path:
    """Return the folder of intermediate files of the run for `day`."""
    return Settings.day_folder(settings.home / "work" / "ingest", day)


def shard_folder(settings: Settings, day: date, shard: int) -> Path:
    """Return the folder of shard number `shard` of the run for `day`."""
    return work_folder(settings, day) / f"shard={shard}"


def read_plan(settings: Settings, day: date) -> Plan:
    """Return the plan that the step `plan` saved.

    Raises:
        InputMissing: There is none.
    """
    path = work_folder(settings, day) / "plan.json"
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise InputMissing(
            f"No ingest is planned for {day}: there is no {path}. Nothing was read. Run the step "
            "`plan` first (`python -m pipelines ingest --date D` runs all steps)."
        ) from None
    closed = value["closed_through"]
    ledger = Ledger(
        tuple(Entry(**entry) for entry in value["ledger"]),
        date.fromisoformat(closed) if closed else None,
    )
    return Plan(
        value["day"],
        ledger,
        tuple((feed, day) for feed, day in value["partitions"]),
        tuple((feed, day) for feed, day in value["frozen"]),
        tuple(
            tuple(
                Task(Entry(**task["entry"]), task["read_from"], task["stored_sha256"])
                for task in shard
            )
            for shard in value["shards"]
        ),
    )


def _write_plan(settings: Settings, plan: Plan) -> None:
    """Save `plan` for the shards; remove the files of an earlier attempt."""
    folder = work_folder(settings, date.fromisoformat(plan.day))
    shutil.rmtree(folder, ignore_errors=True)
    closed = plan.ledger.closed_through
    value = {
        "day": plan.day,
        "closed_through": str(closed) if closed else None,
        "ledger": [entry_as_json(entry) for entry in plan.ledger.entries],
        "partitions": plan.partitions,
        "frozen": plan.frozen,
        "shards": [
            [vars(task) | {"entry": entry_as_json(task.entry)} for task in shard]
            for shard in plan.shards
        ],
    }
    folder.mkdir(parents=True)
    fresh = folder / ".plan.json.new"
    fresh.write_text(json.dumps(value), "utf-8")
    fresh.rename(folder / "plan.json")


def _find_stale_partitions(settings: Settings, ledger: Ledger, day: date) -> set[Partition]:
    """Return every partition whose published files differ from the ledger, and all of `day`."""
    wanted: dict[Partition, list[dict[str, Any]]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.feed:
            wanted[entry.feed, entry.known_on].append(entry_as_json(entry))
    changed = {
        partition
        for partition, entries in wanted.items()
        if _read_published_entries(settings, *partition) != entries
    }
    return changed | {(feed, str(day)) for feed in feeds()} | _find_dependent(changed, wanted)


def _find_dependent(changed: set[Partition], partitions: Iterable[Partition]) -> set[Partition]:
    """Return the later partitions whose duplicates depend on a changed one."""
    first: dict[str, str] = {}
    for feed, day in changed:
        if load(feed).unique_within == "history" or load(feed).full_catalogue:
            first[feed] = min(day, first.get(feed, day))
    return {(feed, day) for feed, day in partitions if feed in first and day > first[feed]}


def _read_published_entries(settings: Settings, feed: str, day: str) -> list[dict[str, Any]] | None:
    folders = [root / feed / f"date={day}" for root in (settings.lake, settings.quarantine)]
    for folder in folders:
        restore(folder)
    if not all((folder / MANIFEST).exists() for folder in folders):
        return None
    entries: list[dict[str, Any]] = read_manifest(folders[0])["ledger"]
    return entries


def _paths_by_content(landed: Iterable[LandedFile]) -> dict[Content, tuple[str, str]]:
    """Return path and stored hash of each content; a copy under another name will do.

    Of several copies an erased one is read, so that no copy brings an erased person back.
    """
    files = list(landed)
    files.sort(key=lambda file: not file.stored_sha256)  # stable, so by path
    return {
        (file.feed, file.source, file.sha256): (file.path, file.stored_sha256)
        for file in reversed(files)
    }


def _content(entry: Entry) -> Content:
    return entry.feed, entry.source, entry.sha256


def _find_frozen_partitions(
    settings: Settings, ledger: Ledger, stale: set[Partition], paths: dict[Content, tuple[str, str]]
) -> set[Partition]:
    """Return the published partitions that cannot be rebuilt, because a landed file is lost."""
    incomplete = {
        (entry.feed, entry.known_on)
        for entry in ledger.entries
        if entry.state == "taken" and _content(entry) not in paths
    }
    return {
        partition
        for partition in incomplete & stale
        if _read_published_entries(settings, *partition) is not None
    }


def _without_new_entries(before: Ledger, after: Ledger, frozen: set[Partition]) -> Ledger:
    """Return `after` without the new entries of the frozen partitions."""
    known = {(entry.path, entry.version) for entry in before.entries}
    new = {
        (entry.path, entry.version)
        for entry in after.entries
        if (entry.feed, entry.known_on) in frozen
    } - known
    return remove_entries(after, new, before)


def _log_frozen(frozen: Iterable[Partition]) -> None:
    for feed, day in sorted(frozen):
        log.warning(
            "lake/%s/date=%s is not rebuilt: at least one landed file that it was built from has "
            "since been overwritten or removed. The published partition stays as it is, and new "
            "files for it wait for the next new day. Restore the file as it was received (its "
            "SHA-256 is in ledger/date=%s.jsonl) to rebuild it.",
            feed,
            day,
            day,
        )


def _assign_to_shards(tasks: Sequence[Task], shard_bytes: int) -> tuple[tuple[Task, ...], ...]:
    """Assign the sources of all feeds to shards of about equal bytes, the largest first.

    All dates of a source are in one shard, because its keys are unique over all of them.
    """
    groups: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in tasks:
        groups[task.entry.feed, task.entry.source].append(task)
    sizes = {name: sum(t.entry.bytes for t in group) for name, group in groups.items()}
    wanted = max(MIN_SHARDS, math.ceil(sum(sizes.values()) / shard_bytes))
    count = max(1, min(wanted, MAX_SHARDS, len(groups)))
    shards: list[list[Task]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(groups, key=lambda name: (-sizes[name], name)):
        lightest = loads.index(min(loads))
        shards[lightest] += groups[name]
        loads[lightest] += sizes[name] + 1
    return tuple(
        tuple(sorted(shard, key=lambda t: (t.entry.feed, *t.entry.order))) for shard in shards
    )
