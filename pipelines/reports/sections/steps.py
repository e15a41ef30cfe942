"""Which steps of the day stand, which are missing, and which were made from older inputs."""

from dataclasses import replace
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from expectations.contracts import feeds
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import MANIFEST, hash_mart_inputs, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.reports.report_data import Step

DIGITS = 12
MOST_EVIDENCE = 3
"""Pieces of evidence that a finding names before it only counts the rest."""


def steps(settings: Settings, day: date) -> tuple[Step, ...]:
    """Return the state of every folder that the day's steps publish, in the order of the day."""
    inputs = Inputs(settings, day)
    return tuple(_step(name, folder, inputs) for name, folder in folders(settings, day))


def folders(settings: Settings, day: date) -> list[tuple[str, Path]]:
    """Return each step with the folders that it publishes for `day`."""
    after = {
        "marts": [settings.marts],
        "score": [settings.pairs],
        "match": [settings.matches, settings.offers, settings.unmatched, settings.reasons],
    }
    return [
        *(("ingest", settings.day_folder(settings.lake / feed, day)) for feed in feeds()),
        *(("ingest", settings.day_folder(settings.quarantine / feed, day)) for feed in feeds()),
        *(
            (name, settings.day_folder(root, day))
            for name, roots in after.items()
            for root in roots
        ),
    ]


class Inputs:
    """What steps may have read, as it is now; each folder is looked at once."""

    def __init__(self, settings: Settings, day: date):
        """Look below the home of `settings`, for a step of `day`."""
        self.home = settings.home
        self.manifest = cache(_manifest)
        self._settings, self._day = settings, day

    @cached_property
    def _of_marts(self) -> dict[str, str]:
        return hash_mart_inputs(self._settings, self._day)

    def now(self, source: str) -> str:
        """Return the first digits of the content of `source`, a folder below the home."""
        if "=" not in source:  # all partitions of a folder, as the marts read them
            return self._of_marts[source][:DIGITS]
        found = self.manifest(self.home / source)
        return "gone" if isinstance(found, str) else str(found["content_sha256"])[:DIGITS]


def _step(name: str, folder: Path, inputs: Inputs) -> Step:
    where = folder.relative_to(inputs.home).as_posix()
    found = inputs.manifest(folder)
    if isinstance(found, str):
        exists = (folder / MANIFEST).exists()
        return Step(name, where, "unreadable" if exists else "missing", evidence=found)
    published = Step(
        name, where, "published", rows=found["rows"], content=found["content_sha256"][:DIGITS]
    )
    if changed := _changed(folder, found):
        return replace(published, state="unreadable", evidence=_first(changed))
    if stale := _stale(found, inputs):
        return replace(published, state="stale", evidence=_first(stale))
    return published


def _changed(folder: Path, found: dict[str, Any]) -> list[str]:
    """Return the files that are not what the manifest says."""
    return [
        f"{name} is not the file that was published"
        for name, facts in sorted(found["files"].items())
        if not (folder / name).is_file() or sha256(folder / name) != facts["sha256"]
    ]


def _stale(found: dict[str, Any], inputs: Inputs) -> list[str]:
    """Return the inputs that were published anew after the step had read them."""
    as_of, _, content = found.get("models", "").partition(":")
    read = found.get("inputs", {}) | ({f"registry/as_of={as_of}": content} if content else {})
    return [
        f"{source} is {now} now, it read {was[:DIGITS]}"
        for source, was in sorted(read.items())
        if (now := inputs.now(source)) != was[:DIGITS]
    ]


def _first(texts: list[str]) -> str:
    more = f"; and {len(texts) - MOST_EVIDENCE} more" if texts[MOST_EVIDENCE:] else ""
    return "; ".join(texts[:MOST_EVIDENCE]) + more


def _manifest(folder: Path) -> dict[str, Any] | str:
    """Return the manifest of `folder`, or why there is none."""
    try:
        return read_manifest(folder)
    except InputMissing:
        return "no manifest.json: the step has not published this folder"
    except (OSError, ValueError):
        return "manifest.json cannot be read as JSON"
