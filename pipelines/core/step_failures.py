"""Why a step of a day did not finish: kept beside the day until the step does, for its report.

Without these notes a report could only say that a result is missing. They are no part of a day's
outcome: a step that is done takes its note away, so the same inputs still give the same bytes.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import BanyanError
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings

PLANS = {"plan_ingest": "ingest", "plan_deliver": "deliver"}
"""Step that makes shards -> the step that works on them."""

AFTER = frozenset({"report", "close", "retrain"})
"""Steps that a day's report doesn't tell of: they come after it, or belong to no day."""


@contextmanager
def noted(settings: Settings, day: date, step: str, shard: object) -> Iterator[None]:
    """Keep why the block failed, or take earlier notes of the same away where it did not.

    Args:
        shard: What the step works on, JSON-able; the same for the same part of the work.
    """
    if step in AFTER:
        yield
        return
    note = _folder(settings, day, step) / f"{_name(shard)}.json"
    try:
        yield
    except Exception as error:
        with suppress(OSError):  # a full disk must not hide what failed
            write_json(note, {"message": _said(error)})
        raise
    note.unlink(missing_ok=True)
    if step in PLANS:
        shutil.rmtree(_folder(settings, day, PLANS[step]), ignore_errors=True)


def refusals(settings: Settings, day: date) -> list[tuple[str, str]]:
    """Return (step, message) of every step of `day` that did not finish, sorted."""
    notes = settings.of_day(settings.refusals, day).glob("*/*.json")
    return sorted({(path.parent.name, _message(path)) for path in notes})


def _folder(settings: Settings, day: date, step: str) -> Path:
    return settings.of_day(settings.refusals, day) / step


def _said(error: Exception) -> str:
    """Return what `error` says; of one that is not ours its kind, since it may quote a row."""
    return str(error) if isinstance(error, BanyanError) else f"stopped by {type(error).__name__}"


def _name(shard: object) -> str:
    """Return a file name for `shard`, whatever it holds."""
    return hashlib.sha256(json.dumps(shard, sort_keys=True).encode()).hexdigest()[:12]


def _message(path: Path) -> str:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return str(content["message"])
