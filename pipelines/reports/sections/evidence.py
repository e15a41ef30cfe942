"""Evidence: the folders that the day's steps publish, failed steps, data sources, policies.

A folder is stale if it was made from inputs that have been published again since.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from pipelines.core.data_provenance import read_provenance
from pipelines.core.errors import InputMissing, IntegrityError
from pipelines.core.evidence.kept_policies import find_kept, read_kept
from pipelines.core.evidence.policy_changes import ChangedEntry, compare_entries
from pipelines.core.formats import without_personal
from pipelines.core.home.shared_marts import find_changed_files
from pipelines.core.publishing import (
    MANIFEST,
    hash_mart_inputs,
    list_known_feeds,
    read_manifest,
    sha256,
)
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures
from pipelines.core.translation import join, text
from pipelines.reports.sections.catalogue import find_day_before

DIGITS = 12
MAX_EVIDENCE = 3
"""Pieces of evidence that a finding names before it counts the rest."""


@dataclass(frozen=True)
class FailedStep:
    """A step that did not finish, with its error message."""

    step: str
    message: str


@dataclass(frozen=True)
class PublishedFolder:
    """One folder that a step publishes, with its state and the evidence for it."""

    step: str
    folder: str
    """Below the home, with `/`."""
    state: Literal["published", "missing", "stale", "unreadable"]
    rows: int | None = None
    content: str | None = None
    """First 12 digits of the SHA-256 over the folder's content."""
    evidence: str = ""


@dataclass(frozen=True)
class InventedColumn:
    """A column whose values follow a stated rule, because the source does not have it."""

    feed: str
    column: str
    rule: str


@dataclass(frozen=True)
class DataSource:
    """An import or a simulation that wrote files under `landing/`."""

    name: str
    kind: str
    """`import` of a foreign file, or `simulate`."""
    description: str
    invented: tuple[InventedColumn, ...]


@dataclass(frozen=True)
class PolicyChanges:
    """What differs in the policies from the ones of the matched day before."""

    day_before: date | None = None
    """The matched day before; None if there is none."""
    is_comparable: bool = True
    """The text of both versions is kept."""
    entries: tuple[ChangedEntry, ...] = ()


def load_failed_steps(settings: Settings, day: date) -> tuple[FailedStep, ...]:
    """Return the steps of `day` that failed, their messages without this machine's own path."""
    home = f"{settings.home}/"
    return tuple(
        FailedStep(step, without_personal(message.replace(home, "")))
        for step, message in read_step_failures(settings, day)
    )


def load_data_sources(settings: Settings, day: date) -> tuple[DataSource, ...]:
    """Return the imports and simulations of this home up to `day`, and the columns they invented.

    One that came after `day` was closed doesn't belong to it.
    """
    return tuple(
        DataSource(
            name=source["name"],
            kind=source["kind"],
            description=source["description"],
            invented=tuple(
                InventedColumn(feed, column, rule)
                for feed, columns in sorted(source["invented"].items())
                for column, rule in sorted(columns.items())
            ),
        )
        for source in read_provenance(settings, day)
    )


def load_policy_changes(settings: Settings, day: date) -> PolicyChanges:
    """Return which entries of the policies differ between `day` and the matched day before it."""
    before = find_day_before(settings.matches, day)
    if before is None:
        return PolicyChanges()
    pinned = [
        read_manifest(settings.day_folder(settings.matches, each)).get("policies")
        for each in (before, day)
    ]
    if pinned[0] == pinned[1]:
        return PolicyChanges(before)
    kept = [find_kept(settings, name) if name else None for name in pinned]
    texts = [read_kept(settings, version) for version in kept if version]
    if len(texts) < len(kept):
        return PolicyChanges(before, is_comparable=False)
    return PolicyChanges(before, entries=tuple(compare_entries(*texts)))


def check_folders(settings: Settings, day: date) -> tuple[PublishedFolder, ...]:
    """Return the state of every folder that the day's steps publish, in the order of the day."""
    inputs = _Inputs(settings, day)
    return tuple(_check(step, folder, inputs) for step, folder in _folders(settings, day))


def _folders(settings: Settings, day: date) -> list[tuple[str, Path]]:
    """Return each step with the folders that it publishes for `day`."""
    known = list_known_feeds(settings, day)
    later = {
        "marts": [settings.marts],
        "score": [settings.pairs],
        "match": [settings.matches, settings.offers, settings.unmatched, settings.reasons],
    }
    return [
        *(("ingest", settings.day_folder(settings.lake / feed, day)) for feed in known),
        *(("ingest", settings.day_folder(settings.quarantine / feed, day)) for feed in known),
        *(
            (step, settings.day_folder(root, day))
            for step, roots in later.items()
            for root in roots
        ),
    ]


class _Inputs:
    """The current content of the folders that steps read; each is read once."""

    def __init__(self, settings: Settings, day: date):
        self.home = settings.home
        self.manifest = cache(_manifest)
        self._settings, self._day = settings, day

    @cached_property
    def _marts_inputs(self) -> dict[str, str]:
        return hash_mart_inputs(self._settings, self._day)

    def current_hash(self, source: str) -> str:
        """Return the first digits of the content hash of `source`, a folder below the home."""
        if "=" not in source:  # all partitions of a folder, as the marts read them
            return self._marts_inputs[source][:DIGITS]
        manifest = self.manifest(self.home / source)
        return "gone" if isinstance(manifest, str) else str(manifest["content_sha256"])[:DIGITS]


def _check(step: str, folder: Path, inputs: _Inputs) -> PublishedFolder:
    path = folder.relative_to(inputs.home).as_posix()
    manifest = inputs.manifest(folder)
    if isinstance(manifest, str):
        exists = (folder / MANIFEST).exists()
        return PublishedFolder(step, path, "unreadable" if exists else "missing", evidence=manifest)
    published = PublishedFolder(
        step, path, "published", rows=manifest["rows"], content=manifest["content_sha256"][:DIGITS]
    )
    if changed := _changed_files(folder, manifest):
        return replace(published, state="unreadable", evidence=_shortened(changed))
    if stale := _changed_inputs(manifest, inputs):
        return replace(published, state="stale", evidence=_shortened(stale))
    return published


def _changed_files(folder: Path, manifest: dict[str, Any]) -> Sequence[str]:
    """Return the files that differ from the manifest."""
    return [
        text("{file} is not the file that was published", file=name)
        for name, facts in sorted(manifest["files"].items())
        if not (folder / name).is_file() or sha256(folder / name) != facts["sha256"]
    ] + [
        join([path.relative_to(folder.parent).as_posix(), how], " ")
        for path, how in find_changed_files(folder)
    ]


def _changed_inputs(manifest: dict[str, Any], inputs: _Inputs) -> list[str]:
    """Return the inputs that were published again after the step had read them."""
    as_of, _, content = manifest.get("models", "").partition(":")
    read = manifest.get("inputs", {}) | ({f"registry/as_of={as_of}": content} if content else {})
    return [
        text(
            "{source} is {now} now, the step read {then}",
            source=source,
            now=now,
            then=then[:DIGITS],
        )
        for source, then in sorted(read.items())
        if (now := inputs.current_hash(source)) != then[:DIGITS]
    ]


def _shortened(texts: Sequence[str]) -> str:
    return join(texts, limit=MAX_EVIDENCE)


def _manifest(folder: Path) -> dict[str, Any] | str:
    """Return the manifest of `folder`, or the reason why there is none."""
    try:
        return read_manifest(folder)
    except InputMissing:
        return text("no manifest.json: the step has not published this folder")
    except (IntegrityError, OSError, ValueError):
        return text("manifest.json cannot be read as JSON")
