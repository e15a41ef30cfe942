"""The failures of a day's steps: one note a step, removed when the step succeeds.

The day's report lists them; without them it could only say that a result is missing. They are no
part of a day's output: a step that succeeds removes its note, so equal inputs give equal bytes.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import BanyanError, DeliveryOnHold
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json

SHARDED_STEPS = {"plan_ingest": "ingest", "plan_deliver": "deliver"}
"""Step that makes shards -> the step that runs once for each of them."""

UNREPORTED = frozenset({"report", "close", "retrain", "check_deadline"})
"""Steps that a day's report leaves out: they run after it, or belong to no day."""


@contextmanager
def record_failure(settings: Settings, day: date, step: str, shard: object) -> Iterator[None]:
    """Write a note if the block fails; remove the earlier note of the same work if it succeeds.

    A step that waits for an officer's decision has not failed.

    Args:
        settings: Settings of the home.
        day: The business date.
        step: The name of the step.
        shard: The part of the step's work, JSON-able; equal for equal parts.
    """
    if step in UNREPORTED:
        yield
        return
    note = _folder(settings, day, step) / f"{_hash_shard(shard)}.json"
    try:
        yield
    except DeliveryOnHold:
        raise
    except Exception as error:
        with suppress(OSError):  # a full disk must not hide the failure itself
            write_json(note, {"message": _message(error)})
        raise
    note.unlink(missing_ok=True)
    if step in SHARDED_STEPS:
        shutil.rmtree(_folder(settings, day, SHARDED_STEPS[step]), ignore_errors=True)


def read_step_failures(settings: Settings, day: date) -> list[tuple[str, str]]:
    """Return (step, message) of every step of `day` that failed, sorted."""
    notes = settings.day_folder(settings.step_failures, day).glob("*/*.json")
    return sorted({(path.parent.name, _read_message(path)) for path in notes})


def _folder(settings: Settings, day: date, step: str) -> Path:
    return settings.day_folder(settings.step_failures, day) / step


def _message(error: Exception) -> str:
    """Return the text of `error`; of a foreign error only its type, since it may quote a row."""
    return str(error) if isinstance(error, BanyanError) else f"stopped by {type(error).__name__}"


def _hash_shard(shard: object) -> str:
    return hashlib.sha256(json.dumps(shard, sort_keys=True).encode()).hexdigest()[:12]


def _read_message(path: Path) -> str:
    content: dict[str, Any] = read_json(path)
    return str(content["message"])
