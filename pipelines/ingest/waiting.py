"""Landed files that no run has read: far ahead of the day, or late for a date that is closed.

`collect` records them beside the ledger when it closes the day, so that the day's report names them
and a replay of the day finds the same record.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from expectations import policy
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.ingest.landing import list_paths
from pipelines.ingest.ledger import Ledger

State = Literal["ahead", "late"]
"""`ahead`: behind a gap of days without any file; `late`: a later date was closed before."""


@dataclass(frozen=True)
class WaitingFiles:
    """Files of one source and date that wait."""

    state: State
    feed: str
    source: str
    date: str
    files: int


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
    return [WaitingFiles(*group, files) for group, files in sorted(groups.items())]


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
