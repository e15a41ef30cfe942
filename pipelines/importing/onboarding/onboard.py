"""Onboard a foreign file: profile it, draft its mapping, and run that draft; nothing lands."""

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from expectations import contracts, mapping
from expectations.mapping import MappingError
from pipelines.core.errors import ImportRejected, IntegrityError, UsageError
from pipelines.core.publishing import open_parquet
from pipelines.core.settings import Settings
from pipelines.importing.import_file import open_workspace
from pipelines.importing.onboarding.candidates import propose_columns
from pipelines.importing.onboarding.draft import DraftWriter
from pipelines.importing.onboarding.dry_run import run_dry
from pipelines.importing.onboarding.file_format import Guess, guess_format
from pipelines.importing.onboarding.profile import profile_columns
from pipelines.importing.read_source import read_source
from pipelines.importing.split_by_feed import SOURCE

SAMPLE_BYTES = 8 << 20
"""Bytes of a file, from its start, that are profiled."""
SAMPLE_ROWS = 20_000
"""Rows of a Parquet file, from its start, that are profiled."""


def onboard(
    settings: Settings, file: Path, feed: str, source: str | None, out: Path | None, *, force: bool
) -> dict[str, Any]:
    """Write the draft of a mapping for `file` and return what was found.

    Nothing lands. A large file is profiled by its beginning.

    Args:
        settings: Settings of the home, for time zone and limits.
        file: The foreign file.
        feed: The feed that its rows become.
        source: The SOURCE folder; by default the name of the file.
        out: Where the draft is written; by default NAME.draft.yml in the current folder.
        force: Replace a file at `out`.

    Returns:
        `file`, `feed`, `source`, `draft` (path), `format`, `sample` (`rows`, `bytes`, `of_bytes`,
        `is_whole`), `profile` (of each column), `columns` (contract column -> source, score,
        evidence), `questions` and `dry_run`.

    Raises:
        UsageError: No such file or feed, a bad source, or `out` exists.
        ImportRejected: The file can't be read at all.
    """
    source = _check_arguments(file, feed, source)
    target = out or Path(f"{_slug(file)}.draft.yml")
    if target.suffix != ".yml":
        raise UsageError(f"--out is {target}; the name of a mapping ends in .yml")
    if target.exists() and not force:
        raise UsageError(
            f"{target} exists; nothing was written. Name another file with --out, or replace it "
            "with --force"
        )
    contract = contracts.load(feed)
    guess = guess_format(file)
    with _sample(settings, file, guess) as (path, sample), open_workspace(settings) as connection:
        names = read_source(connection, path, guess.spec)
        sample["rows"] = connection.table("received").shape[0]
        profiles = profile_columns(connection, names)
        chosen, candidates = propose_columns(contract, profiles)
        draft = DraftWriter(
            contract, guess, profiles, chosen, candidates,
            file_name=file.name, source=source, day=_modified_on(file), zone=settings.time_zone,
        ).write()  # fmt: skip
        written = path.parent / f"{_slug(file)}.yml"
        written.write_text(draft.text, "utf-8")
        try:
            loaded = mapping.load(str(written))
        except MappingError as error:
            raise IntegrityError(
                f"the draft of {file.name} is no valid mapping: {error}. Nothing was written. "
                "This is a fault of the program: report it with the names of the columns."
            ) from None
        result = run_dry(settings, connection, loaded, names, contract, draft.unanswered)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(draft.text, "utf-8")
    return {
        "file": file.name,
        "path": f"{file}",
        "feed": feed,
        "source": source,
        "draft": str(target),
        "format": guess.spec.model_dump(exclude={"names"}) | {"evidence": guess.evidence},
        "sample": sample,
        "profile": [profile.describe() for profile in profiles.values()],
        "columns": {
            name: {"from": c.source, "score": c.score, "evidence": c.evidence}
            for name, c in chosen.items()
        },
        "questions": draft.questions,
        "dry_run": asdict(result),
    }


def _check_arguments(file: Path, feed: str, source: str | None) -> str:
    """Return the source; raise `UsageError` where an argument is wrong."""
    if feed not in contracts.feeds():
        known = ", ".join(contracts.feeds())
        raise UsageError(f"no feed is named {feed!r}; there are: {known}. Nothing was written")
    if not file.is_file():
        raise UsageError(f"there is no file {file}; nothing was written")
    source = source or _slug(file)[:64]
    if not re.match(SOURCE, source):
        raise UsageError(f"{source!r} is no name of a source; its pattern is {SOURCE}")
    return source


def _slug(file: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-") or "foreign-file"


def _modified_on(file: Path) -> date:
    return date.fromtimestamp(file.stat().st_mtime)  # noqa: DTZ012 - only a proposal


@contextmanager
def _sample(settings: Settings, file: Path, guess: Guess) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the beginning of a file as a file of its own, and how much of it that is."""
    size = file.stat().st_size
    settings.home.mkdir(parents=True, exist_ok=True)  # the sample holds persons: not in /tmp
    with tempfile.TemporaryDirectory(prefix=".onboard-", dir=settings.home) as folder:
        path = Path(folder) / file.name
        if guess.spec.format == "parquet":
            is_whole = _sample_parquet(file, path)
        elif file.suffix != ".gz" and size <= SAMPLE_BYTES:
            shutil.copyfile(file, path)
            is_whole = True
        else:
            path = path.with_suffix("") if file.suffix == ".gz" else path
            is_whole = _sample_text(file, path, guess.spec.encoding)
        facts = {"bytes": path.stat().st_size, "of_bytes": size, "is_whole": is_whole}
        yield path, facts


def _sample_text(file: Path, path: Path, encoding: str) -> bool:
    """Write the first lines of a text; return whether that is all of it."""
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as source:
            head = source.read(SAMPLE_BYTES)
            is_whole = not source.read(1)
    except (OSError, EOFError, zlib.error) as error:
        raise ImportRejected(
            f"{file.name} can't be read: {error}. Nothing was written. Ask for the file again."
        ) from None
    if not is_whole:
        end = head.rfind("\n".encode("utf-16-le") if encoding == "utf-16" else b"\n")
        head = head[: end + (2 if encoding == "utf-16" else 1)] if end > 0 else head
    path.write_bytes(head)
    return is_whole


def _sample_parquet(file: Path, path: Path) -> bool:
    try:
        with open_parquet(file) as source:
            batches = source.iter_batches(SAMPLE_ROWS)
            first = next(batches, None)
            table = pa.Table.from_batches([] if first is None else [first], source.schema_arrow)
            pq.write_table(table, path)
            return bool(source.metadata.num_rows <= SAMPLE_ROWS)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ImportRejected(
            f"{file.name} can't be read as Parquet: {reason}. Nothing was written. Ask for the "
            "file again."
        ) from None
