"""The ledger of what persons asked for: `persons/ledger.jsonl`, append-only, without personal data.

Each line has the hash of the line before, so a changed, removed or inserted line is found. Of a
person it has a keyed hash of the lead at most, which nobody can reverse without the home's key.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json_lines

LEDGER = "ledger.jsonl"
FIRST = "0" * 64
"""What the first line has in place of the hash of a line before."""


@dataclass(frozen=True)
class Restriction:
    """A restriction of a person's data."""

    id: str
    known_on: date
    """First business date on which it holds."""
    lifted_on: date | None = None


@dataclass(frozen=True)
class Review:
    """A decision that a person disputes, until a human has looked at it."""

    id: str
    known_on: date
    decision_on: date
    """The business date of the decision."""
    decided_on: date | None = None
    result: str = ""


def append_entry(settings: Settings, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Append an entry with the time and the hash of the line before; return it."""
    path = ledger_path(settings)
    lines = read_ledger(settings)
    previous = _hash(lines[-1]) if lines else FIRST
    at = datetime.now(UTC).isoformat(timespec="seconds")
    written = {"number": len(lines) + 1, "at": at, **entry, "previous": previous}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a", encoding="utf-8") as file:
        file.write(_to_line(written) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return written


def read_ledger(settings: Settings) -> list[dict[str, Any]]:
    """Return every entry, oldest first.

    Raises:
        IntegrityError: A line was changed, removed or inserted.
    """
    path = ledger_path(settings)
    entries = read_json_lines(path) if path.is_file() else []
    previous = FIRST
    for number, entry in enumerate(entries, 1):
        if entry.get("previous") != previous or entry.get("number") != number:
            raise IntegrityError(describe_damage(path, f"line {number} does not follow the others"))
        previous = _hash(entry)
    return entries


def list_restrictions(settings: Settings) -> list[Restriction]:
    """Return every restriction, oldest first."""
    entries = read_ledger(settings)
    lifted = {
        entry["restriction"]: date.fromisoformat(entry["known_on"])
        for entry in entries
        if entry["verb"] == "lift"
    }
    return [
        Restriction(entry["id"], date.fromisoformat(entry["known_on"]), lifted.get(entry["id"]))
        for entry in entries
        if entry["verb"] == "restrict"
    ]


def list_reviews(settings: Settings) -> list[Review]:
    """Return every disputed decision, oldest first."""
    entries = read_ledger(settings)
    decided = {entry["review"]: entry for entry in entries if entry["verb"] == "decide"}
    reviews = []
    for entry in entries:
        if entry["verb"] == "review":
            result = decided.get(entry["id"])
            reviews.append(
                Review(
                    entry["id"],
                    date.fromisoformat(entry["known_on"]),
                    date.fromisoformat(entry["date"]),
                    date.fromisoformat(result["known_on"]) if result else None,
                    result["result"] if result else "",
                )
            )
    return reviews


def ledger_path(settings: Settings) -> Path:
    """Return the file of the ledger."""
    return settings.persons / LEDGER


def _hash(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(_to_line(entry).encode()).hexdigest()


def _to_line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False, sort_keys=True)
