"""The findings that the steps of a day state in their manifests.

A step adds `findings` to the manifest of a folder that it publishes for the day: a list of
`{id, count, sources, detail}`. A new id needs only a rule in `expectations/policy/verdict.yml`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.formats import without_personal
from pipelines.core.publishing import MANIFEST
from pipelines.core.settings import Settings
from pipelines.core.translation import join, text
from pipelines.reports.verdict import MAX_PLACES, Finding, make_finding, name_places

KEYS = {"id", "count", "sources", "detail"}
MAX_DETAILS = 3
"""Details of one finding that the page shows."""


@dataclass
class _Stated:
    """What all manifests of the day state under one id."""

    count: int = 0
    sources: set[str] = field(default_factory=set)
    details: dict[str, None] = field(default_factory=dict)


def collect_stage_findings(settings: Settings, day: date) -> tuple[Finding, ...]:
    """Return one finding for each id that a manifest of `day` states, in the order of ids.

    Counts are added up and sources joined. Findings that cannot be read are a finding as well.
    """
    by_id: dict[str, _Stated] = defaultdict(_Stated)
    broken: list[str] = []
    for folder, stated in _read_manifests(settings, day):
        entries = stated if isinstance(stated, list) else [stated]
        for entry in entries:
            if not _is_valid(entry):
                broken.append(folder)
                continue
            found = by_id[entry["id"]]
            found.count += entry.get("count", 1)
            found.sources.update(entry.get("sources") or [folder])
            if detail := entry.get("detail"):
                found.details[without_personal(detail)] = None
    findings = [_make(rule_id, found) for rule_id, found in sorted(by_id.items())]
    if broken:
        places = name_places(broken)
        findings.append(
            make_finding("finding_unreadable", places, amount=len(broken), where=places)
        )
    return tuple(findings)


def _make(rule_id: str, stated: _Stated) -> Finding:
    """Return the finding; where its words don't name every source, its evidence does."""
    evidence: str = join(stated.details, limit=MAX_DETAILS)
    if len(stated.sources) > MAX_PLACES:
        every = ", ".join(sorted(map(without_personal, stated.sources)))
        evidence = join([evidence, text("from {sources}", sources=every)]) if evidence else every
    return make_finding(rule_id, evidence, amount=stated.count, where=name_places(stated.sources))


def _is_valid(entry: object) -> bool:
    """Return whether `entry` is a finding as a manifest states it."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str) or entry.keys() - KEYS:
        return False
    number, sources = entry.get("count", 1), entry.get("sources") or []
    return (
        isinstance(number, int)
        and isinstance(sources, list)
        and all(isinstance(source, str) for source in sources)
        and isinstance(entry.get("detail") or "", str)
    )


def _read_manifests(settings: Settings, day: date) -> Iterator[tuple[str, Any]]:
    """Yield each published folder of `day` that states findings, with what it states, by path.

    A manifest that cannot be read is a finding of its own, see `check_folders`.
    """
    for folder in sorted(_list_folders(settings, day)):
        for path in sorted(folder.rglob(MANIFEST)):
            name = path.parent.relative_to(settings.home)
            if any(part.startswith(".") for part in name.parts):
                continue  # a folder that is being written
            try:
                manifest = json.loads(path.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(manifest, dict) and manifest.get("findings"):
                yield name.as_posix(), manifest["findings"]


def _list_folders(settings: Settings, day: date) -> set[Path]:
    """Return the folders of `day` in the home, except its report and its failed steps."""
    own = {settings.reports.name, settings.step_failures.name, settings.scorecards.name}
    patterns = (f"*/date={day}", f"*/*/date={day}", f"{settings.registry.name}/as_of={day}")
    folders = {path for pattern in patterns for path in settings.home.glob(pattern)}
    return {path for path in folders if path.relative_to(settings.home).parts[0] not in own}
