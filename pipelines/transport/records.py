"""The record of each delivery's transport: `transport/date=D/INSTITUTION.json` in the home.

It has the times of the wall clock and what servers answered, so it is no result of a day and no
replay makes it again.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json

State = Literal["sent", "waiting", "dead_letter"]
MAX_ATTEMPTS = 100
"""Attempts that a record keeps, the newest ones."""


@dataclass(frozen=True)
class SentFile:
    """One file of a delivery; `sent_at` is empty until it has arrived."""

    name: str
    sha256: str
    bytes: int
    sent_at: str = ""


@dataclass(frozen=True)
class Attempt:
    """One attempt to send; `error` is empty if it succeeded."""

    at: str
    error: str = ""


@dataclass(frozen=True)
class TransportRecord:
    """What happened to one delivery on its way."""

    delivery_id: str
    institution_id: str
    date: str
    version: int
    state: State
    endpoint: str
    """`folder`, or the address without a user; empty while none is known."""
    reason: str = ""
    """Code of a dead letter or a wait: `link`, `host_key_changed`, `window`, `going_live`, ..."""
    message: str = ""
    """What happened and what to do; empty if sent."""
    sent_at: str = ""
    window_ends: str = ""
    """End of the window for which the file waits."""
    is_overdue: bool = False
    """Whether a window has passed in which the file was not sent."""
    files: tuple[SentFile, ...] = ()
    attempts: tuple[Attempt, ...] = ()

    @property
    def can_be_tried_again(self) -> bool:
        """Whether time alone may bring the delivery to its institution."""
        return self.state == "waiting" or (self.state == "dead_letter" and self.reason == "link")

    def add_attempt(self, at: datetime, error: str = "") -> "TransportRecord":
        """Return the record with one more attempt."""
        attempt = Attempt(format_time(at), error)
        return replace(self, attempts=(*self.attempts, attempt)[-MAX_ATTEMPTS:])


ADAPTER = TypeAdapter(TransportRecord)


def format_time(moment: datetime) -> str:
    """Return a moment as a record states it, to the second."""
    return moment.isoformat(timespec="seconds")


def record_path(settings: Settings, day: date, institution_id: str) -> Path:
    """Return the file of a delivery's record."""
    return settings.day_folder(settings.transport, day) / f"{institution_id}.json"


def read_record(settings: Settings, day: date, institution_id: str) -> TransportRecord | None:
    """Return the record of a delivery; None if nothing was done about it yet.

    Raises:
        IntegrityError: The record is damaged.
    """
    path = record_path(settings, day, institution_id)
    if not path.is_file():
        return None
    try:
        return ADAPTER.validate_python(read_json(path))
    except ValidationError:
        raise IntegrityError(describe_damage(path, "it is no record of a transport")) from None


def read_records(settings: Settings, day: date) -> dict[str, TransportRecord]:
    """Return institution -> record, of every delivery of `day` that has one."""
    paths = sorted(settings.day_folder(settings.transport, day).glob("[!.]*.json"))
    found = {path.stem: read_record(settings, day, path.stem) for path in paths}
    return {name: record for name, record in found.items() if record}


def write_record(settings: Settings, day: date, record: TransportRecord) -> None:
    """Write a record, atomically."""
    content: dict[str, Any] = ADAPTER.dump_python(record, mode="json")
    write_json(record_path(settings, day, record.institution_id), content)


def list_records(settings: Settings, day: date) -> list[TransportRecord]:
    """Return the readable records of `day`; `send` names the damaged ones."""
    found = []
    for path in sorted(settings.day_folder(settings.transport, day).glob("[!.]*.json")):
        with suppress(IntegrityError):
            found.append(read_record(settings, day, path.stem))
    return [record for record in found if record]
