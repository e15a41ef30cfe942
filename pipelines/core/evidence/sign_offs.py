"""The sign-off ledger: what an officer decided on a day, by name, and when.

`evidence/sign_offs/date=D.jsonl` has one line for each decision, the newest last. A line is never
changed: a second decision is a further line. A decision states the matches and the report that it
was made on; it holds for these matches alone. A decision is acknowledged when its line is synced to
disk. A crash may tear the last line: it was never acknowledged, and the next decision removes it.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from expectations import policy
from pipelines.core.errors import InputMissing, IntegrityError
from pipelines.core.evidence import DECISIONS, Decision
from pipelines.core.home.schema_version import read_replay
from pipelines.core.publishing import read_manifest, sync
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage

LABELS: dict[str, str] = {"fit": "fit", "remarks": "fit with remarks", "not_fit": "not fit"}
"""Decision -> its words."""


@dataclass(frozen=True)
class SignOff:
    """One decision."""

    date: str
    """The business date that was decided on."""
    decision: Decision
    by: str
    at: str
    """The moment, in UTC."""
    verdict: str
    """The verdict of the report at that moment: fit, remarks or not_fit."""
    report: str
    """SHA-256 over the content of the report."""
    matches: str
    """SHA-256 over the content of the day's matches; empty of a day without matches."""
    note: str = ""
    via: str = "command line"
    """Where it was given: the command line, or Airflow."""


def sign_off_file(settings: Settings, day: date) -> Path:
    """Return the file with the decisions on `day`."""
    return settings.evidence / "sign_offs" / f"date={day}.jsonl"


def read_sign_offs(settings: Settings, day: date) -> tuple[SignOff, ...]:
    """Return the decisions on `day`, the newest last.

    Raises:
        IntegrityError: A line is damaged.
    """
    path = sign_off_file(settings, day)
    return tuple(_parse(path, line) for line in read_lines(path))


def read_lines(path: Path) -> list[bytes]:
    """Return the lines of a ledger without the last one if it was torn; empty without a ledger."""
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    try:
        return [*lines, last] if json.loads(last) else lines
    except ValueError:
        return lines


def append_sign_off(settings: Settings, entry: SignOff) -> None:
    """Append `entry` to the ledger; it is on the disk when this returns.

    Raises:
        IntegrityError: A line of the ledger is damaged; nothing is recorded.
    """
    day = date.fromisoformat(entry.date)
    path = sign_off_file(settings, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False).encode()
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        read_sign_offs(settings, day)
        whole = b"".join(each + b"\n" for each in read_lines(path))
        file.truncate(min(len(whole), path.stat().st_size))
        missing_end = whole[path.stat().st_size :]
        file.write(missing_end + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def find_decision(settings: Settings, day: date) -> SignOff | None:
    """Return the newest decision on the matches of `day` as they are now; None without one."""
    matches = hash_matches(settings, day)
    entries = [entry for entry in read_sign_offs(settings, day) if entry.matches == matches]
    return entries[-1] if entries else None


def hash_matches(settings: Settings, day: date) -> str:
    """Return the hash over the content of the day's matches; empty if none can be read.

    A damaged manifest is named by every step that reads it; no decision was made on it.
    """
    try:
        return str(read_manifest(settings.day_folder(settings.matches, day))["content_sha256"])
    except (InputMissing, IntegrityError):
        return ""


@dataclass(frozen=True)
class Hold:
    """Why the lead files of a day may not be delivered."""

    is_refused: bool
    """True if an officer decided against it; False while nobody has decided."""
    message: str


def find_hold(settings: Settings, day: date) -> Hold | None:
    """Return why the lead files of `day` may not be delivered; None if they may.

    `hold` in `expectations/policy/sign_off.yml` says which days need a decision. A decision and a
    verdict count for the matches that they were made on; where they are of others, or unknown, the
    day needs a decision. A replay delivers nothing, so it needs none.
    """
    mode = policy.sign_off().hold
    if mode == "off" or read_replay(settings):
        return None
    if decision := find_decision(settings, day):
        return _describe_refusal(settings, decision) if decision.decision == "not_fit" else None
    if mode == "on_not_fit" and _is_judged_usable(settings, day):
        return None
    page = settings.day_folder(settings.reports, day) / "index.html"
    return Hold(
        is_refused=False,
        message=(
            f"{day} waits for a decision: no lead file is delivered before somebody signs it off "
            f"(`hold: {mode}` in expectations/policy/sign_off.yml). Everything up to the matches "
            f"is published. Read {page}, then run `banyan signoff --date {day} --by NAME "
            f"--decision fit|remarks|not_fit` and `banyan run --date {day}`."
        ),
    )


def _describe_refusal(settings: Settings, entry: SignOff) -> Hold:
    note = f" Note: {entry.note}" if entry.note else ""
    return Hold(
        is_refused=True,
        message=(
            f"{entry.date} was decided to be not fit by {entry.by} at {entry.at}: no lead file is "
            f"delivered.{note} Correct the cause and run the date again, which needs a new "
            "decision; or record another decision on the same matches with `banyan signoff`. The "
            f"decisions are in {sign_off_file(settings, date.fromisoformat(entry.date))}."
        ),
    )


def _is_judged_usable(settings: Settings, day: date) -> bool:
    """Return whether a report of the present matches says that the day is not `not_fit`."""
    try:
        report = read_manifest(settings.day_folder(settings.reports, day))
    except InputMissing:
        return False
    is_present = report.get("matches") == hash_matches(settings, day)
    return is_present and report.get("verdict") in {"fit", "remarks"}


def _parse(path: Path, line: bytes) -> SignOff:
    try:
        values: dict[str, Any] = json.loads(line)
        entry = SignOff(**values)
    except (ValueError, TypeError):
        raise IntegrityError(describe_damage(path, "a line is no decision")) from None
    if entry.decision not in DECISIONS or not all(isinstance(v, str) for v in values.values()):
        raise IntegrityError(describe_damage(path, "a line is no decision"))
    return entry
