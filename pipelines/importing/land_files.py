"""Put the files of an import under `landing/`.

No landed file is ever changed. Files for dates that are closed would change nothing there: they
count from the next date on, so an import lands them only on request, under names of their own.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from pipelines.core.errors import ImportRejected
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings
from pipelines.ingest.ledger import read_ledger

DIGITS = 12
"""Digits of the content's SHA-256 in the name of a correction."""


@dataclass(frozen=True)
class StagedFile:
    """A file of the import, written beside `landing/`, and its state there."""

    path: Path
    target: Path
    landed_on: date
    sha256: str
    is_landed: bool
    """A file of the same content is in its folder."""
    would_overwrite: bool
    """A file of another content has its name."""
    is_closed: bool
    """Its date was run, or lies before one that was run."""

    @property
    def is_blocked(self) -> bool:
        """Return whether it can't be landed under its own name."""
        return not self.is_landed and (self.would_overwrite or self.is_closed)


def plan_landing(
    settings: Settings, staged: Path, *, as_correction: bool
) -> tuple[StagedFile, ...]:
    """Return the files below `staged`, laid out as `landing/`, with their targets.

    Args:
        settings: Settings of the home.
        staged: Folder of FEED/SOURCE/YYYY-MM-DD/NAME.
        as_correction: True to land files of closed dates, and files whose name is taken, under
            names of their own.

    Raises:
        ImportRejected: Files are blocked, and `as_correction` is false. Nothing was landed.
    """
    closed = read_ledger(settings).closed_through
    files = [
        _compare_with_landing(settings, path, path.relative_to(staged), closed)
        for path in sorted(staged.rglob("*"))
        if path.is_file()
    ]
    blocked = [file for file in files if file.is_blocked]
    if blocked and not as_correction:
        raise ImportRejected(_describe_blocked(settings, blocked, len(files), closed))
    return tuple(_rename_correction(file) if file.is_blocked else file for file in files)


def land_files(files: Iterable[StagedFile]) -> None:
    """Move each file that has not landed to its target; an existing file is never replaced."""
    for file in files:
        if not file.is_landed:
            file.target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.path, file.target)
            except FileExistsError:
                raise ImportRejected(
                    f"{file.target} appeared while the import was at work. It was not changed; the "
                    "files before it have landed. Import again."
                ) from None


def _compare_with_landing(
    settings: Settings, path: Path, name: Path, closed: date | None
) -> StagedFile:
    target = settings.landing / name
    landed_on = date.fromisoformat(name.parent.name)
    digest, size = sha256(path), path.stat().st_size
    is_landed = any(
        other.stat().st_size == size and sha256(other) == digest
        for other in sorted(target.parent.glob("*"))
        if other.is_file() and other.suffix == target.suffix
    )
    return StagedFile(
        path=path,
        target=target,
        landed_on=landed_on,
        sha256=digest,
        is_landed=is_landed,
        would_overwrite=target.exists(),
        is_closed=closed is not None and landed_on <= closed,
    )


def _rename_correction(file: StagedFile) -> StagedFile:
    name = f"{file.target.stem}-correction-{file.sha256[:DIGITS]}{file.target.suffix}"
    return replace(file, target=file.target.with_name(name))


def _describe_blocked(
    settings: Settings, blocked: list[StagedFile], total: int, closed: date | None
) -> str:
    """Return what is blocked, why, and what to do."""
    late = [file for file in blocked if file.is_closed]
    taken = [file for file in blocked if file.would_overwrite]
    dates = sorted({file.landed_on for file in blocked})
    span = f"{dates[0]}" if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    causes = []
    if late:
        causes.append(
            f"{len(late):,} are for {_count_dates(late)} already closed: every date up to {closed} "
            "was run, or lies before one that was run"
        )
    if taken:
        causes.append(
            f"{len(taken):,} would overwrite a landed file of another content on "
            f"{_count_dates(taken)}"
        )
    first = blocked[0].target.relative_to(settings.landing).as_posix()
    effect = "and both files count"
    if late and closed:
        effect = f"and the rows of closed dates count from {closed + timedelta(days=1)} on"
    text = (
        f"{len(blocked):,} of {total:,} files of this import can't be landed ({span}): "
        f"{'; '.join(causes)}. The first is {first}. Landed files never change, so nothing was "
        f"written. --start and --days import other dates only; --as-correction lands these "
        f"files beside the others, under names with `-correction-`, {effect}: rows that are known "
        "already become duplicates."
    )
    if not all(file.is_closed for file in blocked):
        text += " Of a date that was never run, you can also remove the old file by hand."
    return text


def _count_dates(files: Iterable[StagedFile]) -> str:
    number = len({file.landed_on for file in files})
    return f"{number:,} {'date' if number == 1 else 'dates'}"
