"""What the day's run passes by: files that no run reads, and earlier dates whose run failed.

`collect` records both beside the ledger when it closes the day, so that the day's report names them
and a replay of the day finds the same record.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from expectations import policy
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.ingest.landing import list_paths, list_unread_paths
from pipelines.ingest.ledger import Ledger

State = Literal["ahead", "late", "unfinished", "folder", "failed"]
"""`ahead`: behind a gap of days without any file; `late`: a later date was closed before;
`unfinished`: hidden or `*.part`, and older than the day; `folder`: empty, but named like a file;
`failed`: no file, but an earlier date with a failed step, which `path` names."""

MAX_DAYS_FAILED = 30
"""Days back in which dates whose run failed are looked for."""


@dataclass(frozen=True)
class WaitingFiles:
    """Files of one source and date that wait; of a state that is no wait a single path."""

    state: State
    feed: str
    source: str
    date: str
    files: int
    path: str = ""
    since: str = ""
    """When the single path was modified last."""


def record_waiting_files(settings: Settings, ledger: Ledger, day: date) -> None:
    """Record the files that wait after the run for `day`; in a replay the record is an input."""
    if (settings.ledger / "replay.json").is_file():
        return
    path = _path(settings, day)
    waiting = find_waiting_files(settings, ledger, day)
    if waiting:
        write_json(path, [asdict(row) for row in waiting])
    else:
        path.unlink(missing_ok=True)


def read_waiting_files(settings: Settings, day: date) -> list[WaitingFiles]:
    """Return what `record_waiting_files` recorded; nothing if no file waited."""
    try:
        rows: list[dict[str, Any]] = json.loads(_path(settings, day).read_text("utf-8"))
    except FileNotFoundError:
        return []
    return [WaitingFiles(**row) for row in rows]


def find_waiting_files(settings: Settings, ledger: Ledger, day: date) -> list[WaitingFiles]:
    """Return the landed files that wait, by state, feed, source and date."""
    landed = list(list_paths(settings))
    gap = int(policy.verdict_rules()["files_far_ahead"].limits["max_gap_days"])
    last = find_last_near_date(day, (landed_on for *_, landed_on in landed), gap)
    known = {entry.path for entry in ledger.entries}
    groups: Counter[tuple[State, str, str, str]] = Counter()
    for path, feed, source, landed_on in landed:
        if landed_on > last:
            groups["ahead", feed, source, f"{landed_on}"] += 1
        elif landed_on <= day and path not in known:
            groups["late", feed, source, f"{landed_on}"] += 1
    waiting = [WaitingFiles(*group, files) for group, files in sorted(groups.items())]
    return [*waiting, *_find_unread_paths(settings, day), *_find_failed_dates(settings, day)]


def _find_failed_dates(settings: Settings, day: date) -> Iterator[WaitingFiles]:
    """Yield the earlier dates with steps that failed and have not succeeded since."""
    for earlier in (day - timedelta(days=n) for n in range(MAX_DAYS_FAILED, 0, -1)):
        if steps := {step for step, _ in read_step_failures(settings, earlier)}:
            yield WaitingFiles("failed", "", "", f"{earlier}", 0, ", ".join(sorted(steps)))


def _find_unread_paths(settings: Settings, day: date) -> Iterator[WaitingFiles]:
    """Yield the hidden and unfinished files that are left over, and empty folders, by path.

    A file that was modified on the day may still be written, unless only a dot hides it.
    """
    start = settings.day_start(day)
    for found in sorted(list_unread_paths(settings), key=lambda found: found.path):
        if found.landed_on is not None and found.landed_on > day:
            continue
        is_older = found.since < start or (found.landed_on is not None and found.landed_on < day)
        if is_older or found.is_named_as_file or found.is_folder:
            yield WaitingFiles(
                "folder" if found.is_folder else "unfinished",
                found.feed,
                found.source,
                f"{found.landed_on or ''}",
                1,
                found.path,
                f"{found.since:%Y-%m-%d %H:%M} UTC",
            )


def find_last_near_date(day: date, landed: Iterable[date], gap: int) -> date:
    """Return the last date after `day` up to which no more than `gap` days have no file."""
    last = day
    for landed_on in sorted({each for each in landed if each > day}):
        if landed_on - last > timedelta(days=gap + 1):
            break
        last = landed_on
    return last


def _path(settings: Settings, day: date) -> Path:
    return settings.ledger / "waiting" / f"date={day}.json"
