"""Which steps of the day stand, which are missing, and which were made from older inputs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from expectations.contracts import feeds
from pipelines.errors import InputMissing
from pipelines.publish import MANIFEST, read_manifest, sha256
from pipelines.report.facts import Step
from pipelines.settings import Settings

DIGITS = 12
MOST_EVIDENCE = 3
"""Pieces of evidence that a finding names before it only counts the rest."""

Manifests = Callable[[Path], dict[str, Any] | str]
"""Folder -> its manifest, or why there is none."""


def steps(settings: Settings, day: date) -> tuple[Step, ...]:
    """Return the state of every folder that the day's steps publish, in the order of the day."""
    manifest = cache(_manifest)
    return tuple(
        _step(name, folder, settings.home, manifest) for name, folder in folders(settings, day)
    )


def folders(settings: Settings, day: date) -> list[tuple[str, Path]]:
    """Return each step with the folders that it publishes for `day`."""
    after = {
        "marts": [settings.marts],
        "score": [settings.pairs],
        "match": [settings.matches, settings.offers, settings.unmatched],
    }
    quarantined = [settings.of_day(settings.quarantine / feed, day) for feed in feeds()]
    return [
        *(("ingest", settings.of_day(settings.lake / feed, day)) for feed in feeds()),
        *(("ingest", folder) for folder in quarantined if (folder / MANIFEST).is_file()),
        *((name, settings.of_day(root, day)) for name, roots in after.items() for root in roots),
    ]


def _step(name: str, folder: Path, home: Path, manifest: Manifests) -> Step:
    where = folder.relative_to(home).as_posix()
    found = manifest(folder)
    if isinstance(found, str):
        exists = (folder / MANIFEST).exists()
        return Step(name, where, "unreadable" if exists else "missing", evidence=found)
    published = Step(
        name, where, "published", rows=found["rows"], content=found["content_sha256"][:DIGITS]
    )
    if changed := _changed(folder, found):
        return replace(published, state="unreadable", evidence=_first(changed))
    if stale := _stale(found, home, manifest):
        return replace(published, state="stale", evidence=_first(stale))
    return published


def _changed(folder: Path, found: dict[str, Any]) -> list[str]:
    """Return the files that are not what the manifest says."""
    return [
        f"{name} is not the file that was published"
        for name, facts in sorted(found["files"].items())
        if not (folder / name).is_file() or sha256(folder / name) != facts["sha256"]
    ]


def _stale(found: dict[str, Any], home: Path, manifest: Manifests) -> list[str]:
    """Return the inputs that were published anew after the step had read them."""
    return [
        f"{source} is {now} now, it read {was[:DIGITS]}"
        for source, was in sorted(found.get("inputs", {}).items())
        if (now := _now(manifest(home / source))) != was[:DIGITS]
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


def _now(found: dict[str, Any] | str) -> str:
    return "gone" if isinstance(found, str) else str(found["content_sha256"])[:DIGITS]
