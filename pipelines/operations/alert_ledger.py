"""The alerts that were sent about each date: `alerts/date=D.jsonl` in the home.

An alert is open until a later entry says that its date has recovered.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json_lines

RECOVERED = "recovered"
"""The kind of the entry that closes the alerts before it."""


def read_open_alerts(settings: Settings, day: date) -> dict[str, dict[str, Any]]:
    """Return the alerts of `day` since its last recovery, by cause.

    A damaged ledger has none: an alert that is sent again does no harm.
    """
    path = _path(settings, day)
    found: dict[str, dict[str, Any]] = {}
    try:
        entries = read_json_lines(path) if path.is_file() else []
    except IntegrityError:
        return found
    for entry in entries:
        found = {} if entry["kind"] == RECOVERED else found | {entry["cause"]: entry}
    return found


@contextmanager
def lock_alerts(settings: Settings, day: date) -> Iterator[None]:
    """Hold the ledger of `day` while an alert is decided, so that two tasks send one."""
    settings.alerts.mkdir(parents=True, exist_ok=True)
    with _path(settings, day).open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def record_alert(settings: Settings, day: date, alert: Mapping[str, Any]) -> None:
    """Append an alert (`kind`, `cause`, and what it says) with the time."""
    entry = {**alert, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    with _path(settings, day).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _path(settings: Settings, day: date) -> Path:
    return settings.alerts / f"date={day}.jsonl"
