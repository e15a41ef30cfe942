"""The versions of deliveries and notices that went out, from manifests and transport records."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json

NOTICE = "notice-"
"""Prefix of the id of a withdrawal notice."""
RETRACTION = "retraction-"
"""Prefix of the id of a retraction list."""
LISTED_UNDER = {"": "deliveries", NOTICE: "notices", RETRACTION: "retractions"}
"""Prefix of an id, empty of a lead file -> where the manifest has the versions."""

NOTHING = "nothing"
"""State of a delivery without a lead file, for which no lead was matched."""

FOLDER = "folder"
"""The transport of institutions that fetch their files from the outbox."""

Transport = Literal["sent", "waiting", "dead_letter"]


@dataclass(frozen=True)
class DeliveryVersion:
    """One version of a lead file, notice or retraction list, which a receipt is about."""

    day: date
    institution_id: str
    delivery_id: str
    version: int
    rows: int
    hashes: frozenset[str]
    """SHA-256 of the file as it arrives, and as it was before an erasure changed it."""
    file: str
    known_on: date
    """Date as of which it was judged: it went out on that date or later."""
    deadline: date | None = None
    """Of a notice: the last date on which the institution may act on it."""
    transport: str = FOLDER


def name_delivery(day: date, institution_id: str) -> str:
    """Return the id of an institution's delivery; all versions share it."""
    return f"{day:%Y%m%d}-{institution_id}"


def describe_nothing(day: date) -> str:
    """Return what a manifest says where no lead of `day` was matched to its institution."""
    return (
        f"No lead file: no lead of {day} was matched to you. The other files of this folder answer "
        "what you sent, or name people who withdrew."
    )


def parse_delivery_id(text: str) -> tuple[str, date, str] | None:
    """Return prefix, date and institution of an id; None if it is none."""
    prefix = next((each for each in (NOTICE, RETRACTION) if text.startswith(each)), "")
    day, separator, institution = text.removeprefix(prefix).partition("-")
    if not separator or len(day) != 8 or not day.isascii() or not day.isdigit():  # noqa: PLR2004
        return None
    try:
        return prefix, date(int(day[:4]), int(day[4:6]), int(day[6:])), institution
    except ValueError:
        return None


def list_institutions(settings: Settings, day: date) -> list[str]:
    """Return the institutions with a folder in the outbox of `day`, sorted."""
    return sorted(
        path.parent.name
        for path in settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}")
        if not path.parent.name.startswith(".")
    )


def list_versions(
    settings: Settings, days: Iterable[date], as_of: date
) -> Iterator[DeliveryVersion]:
    """Yield the lead files and retraction lists of `days` that were judged by `as_of`."""
    for day in days:
        for name in list_institutions(settings, day):
            yield from (
                version
                for prefix in ("", RETRACTION)
                for version in read_versions(settings, day, name, prefix)
                if version.known_on <= as_of
            )


def read_versions(
    settings: Settings, day: date, institution_id: str, prefix: str = ""
) -> list[DeliveryVersion]:
    """Return the versions of an institution's files of `day`, oldest first.

    Args:
        settings: Settings of the home.
        day: The business date.
        institution_id: The institution.
        prefix: Of the lead file the empty text, else `NOTICE` or `RETRACTION`.
    """
    folder = settings.day_folder(settings.outbox, day) / institution_id
    if not (folder / MANIFEST).is_file():
        return []
    manifest = read_manifest(folder)
    delivery_id = prefix + manifest.get("delivery_id", name_delivery(day, institution_id))
    return [
        _make_version(day, institution_id, delivery_id, entry, manifest.get("delivery", FOLDER))
        for entry in manifest.get(LISTED_UNDER[prefix], [])
    ]


def find_sent(settings: Settings, version: DeliveryVersion) -> tuple[Transport, str | None]:
    """Return whether `version` left, and when, by the transport record of its delivery.

    A version whose transport is its folder is sent when it is published. Another one waits until
    there is a record.
    """
    if version.transport == FOLDER:
        return "sent", None
    record = _read_transport(settings.home, version.day, version.institution_id)
    if record is None:
        return "waiting", None
    recorded, state = int(record.get("version", 0)), record.get("state")
    if version.version < recorded or (version.version == recorded and state == "sent"):
        return "sent", record.get("sent_at")
    return ("dead_letter" if state == "dead_letter" else "waiting"), None


def forget_transport() -> None:
    """Read transport records again: a new step begins."""
    _read_transport.cache_clear()


@cache
def _read_transport(home: Path, day: date, institution_id: str) -> dict[str, Any] | None:
    path = home / "transport" / f"date={day}" / f"{institution_id}.json"
    return read_json(path) if path.is_file() else None


def _make_version(
    day: date,
    institution_id: str,
    delivery_id: str,
    entry: dict[str, Any],
    transport: str,
) -> DeliveryVersion:
    forms = [entry, *entry.get("before_erasure", ())]  # an institution may have either
    hashes = frozenset(form["sha256"] for form in forms)
    deadline = entry.get("deadline")
    return DeliveryVersion(
        day=day,
        institution_id=institution_id,
        delivery_id=delivery_id,
        version=entry["version"],
        rows=entry["rows"],
        hashes=hashes,
        file=entry["file"],
        known_on=date.fromisoformat(entry.get("judged_as_of", f"{day}")),
        deadline=date.fromisoformat(deadline) if deadline else None,
        transport=transport,
    )
