"""Reconcile a finished day: verify its files, add up its leads, and state its verdict.

Counts that add up are necessary, not sufficient: the verdict of the report counts as well.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import DayNotFit, DeadlineMissed, InputMissing, IntegrityError
from pipelines.core.evidence.publication_log import log_day
from pipelines.core.home.shared_marts import find_changed_files
from pipelines.core.publishing import MANIFEST, read_manifest, sha256
from pipelines.core.settings import Settings
from pipelines.core.step_failures import read_step_failures

DESTINATIONS = ("quarantined", "duplicates", "suppressed", "matched", "unmatched")
"""Each received lead ends in exactly one of these."""


NOT_FIT = "not_fit"

QUALITY = "quality.json"
"""File of a day's report for programs."""


def close_day(settings: Settings, day: date) -> dict[str, Any]:
    """Reconcile `day`, log what it published, and return its figures with its verdict.

    Raises:
        InputMissing: A folder of the day was not published.
        IntegrityError: A published file differs from its manifest, leads were lost or added, or the
            publication log is damaged.
        DayNotFit: The verdict of the day is `not_fit`. What is published stays published.
    """
    figures = reconcile_day(settings, day)
    log_day(settings, day)
    if figures["verdict"] == NOT_FIT:
        raise DayNotFit(describe_not_fit(settings, day, figures["reasons"]))
    return figures


STAGES = ("ledger", "marts", "pairs", "matches", "reports")
"""Folders of the home in the order in which a day fills them."""


def check_deadline(settings: Settings, day: date) -> dict[str, Any]:
    """Return the figures of `day` if its lead files and its report are complete.

    Raises:
        DeadlineMissed: They are not; the message says how far the day is and what failed.
    """
    failures = read_step_failures(settings, day)
    if not failures and (settings.day_folder(settings.reports, day) / MANIFEST).is_file():
        return load_figures(settings, day)
    present = [name for name in STAGES if _has_partition(settings, name, day)]
    state = f"the last of its results is {present[-1]}/" if present else "it has no result yet"
    failed = "; ".join(f"{step} failed: {message}" for step, message in failures)
    due = f"{settings.delivery_deadline:%H:%M} {settings.time_zone} (BANYAN_DELIVERY_DEADLINE)"
    raise DeadlineMissed(
        f"The lead files of {day} were due at {due} and are not complete: {state}. "
        f"{failed or 'No step has failed: the run waits, is at work, or was never started'}. "
        "Nothing was changed. Look at the date's run of daily_match in Airflow."
    )


def _has_partition(settings: Settings, name: str, day: date) -> bool:
    return any((settings.home / name).glob(f"date={day}*"))


def describe_not_fit(settings: Settings, day: date, reasons: list[str]) -> str:
    """Return why `day` is not fit, what was not done, where to look and what to do."""
    page = settings.day_folder(settings.reports, day) / "index.html"
    return (
        f"{day} is not fit: {'; '.join(reasons)}. Every step is published and nothing was removed; "
        f"don't send the lead files on. What to do is on the first lines of {page}, and the rules "
        "are in expectations/policy/verdict.yml. Correct the cause and run the date again."
    )


def reconcile_day(settings: Settings, day: date) -> dict[str, Any]:
    """Verify the published folders of `day` and return its figures.

    Raises:
        InputMissing: A folder of the day was not published.
        IntegrityError: A published file differs from its manifest, or leads were lost or added.
    """
    for folder in published_folders(settings, day):
        _verify(folder)
    for path, how in find_changed_files(settings.day_folder(settings.marts, day)):
        raise IntegrityError(
            f"{path} {how}. It holds rows of the marts of several dates. Nothing was repaired. Run "
            "the date again: its step `transform` writes the file again, with the same bytes."
        )
    figures = load_figures(settings, day)
    accounted_for = sum(figures[name] for name in DESTINATIONS)
    if figures["received"] != accounted_for:
        counts = ", ".join(f"{name} {figures[name]:,}" for name in DESTINATIONS)
        raise IntegrityError(
            f"{figures['received']:,} leads were received for {day} but {accounted_for:,} are "
            f"accounted for ({counts}). The files were not changed; don't send them on. The "
            f"counts are in {settings.day_folder(settings.matches, day) / MANIFEST} and in the "
            f"manifests of {settings.lake / 'leads'}."
        )
    return figures


def published_folders(settings: Settings, day: date) -> list[Path]:
    """Return the folders that a finished `day` has published from the marts on, in order."""
    roots = [settings.marts, settings.pairs, settings.matches, settings.offers]
    roots += [settings.unmatched, settings.reasons]
    deliveries = sorted(settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}"))
    return [
        *(settings.day_folder(root, day) for root in roots),
        *(manifest.parent for manifest in deliveries),
        settings.day_folder(settings.reports, day),
    ]


def load_figures(settings: Settings, day: date) -> dict[str, Any]:
    """Return the day's headline figures, as `run --json` prints them."""
    manifest = read_manifest(settings.day_folder(settings.matches, day))
    names = ("received", *DESTINATIONS, "matches", "institutions", "explored", "gap")
    return {name: manifest[name] for name in names} | _load_verdict(settings, day)


def read_quality(settings: Settings, day: date) -> dict[str, Any]:
    """Return the content of the day's `quality.json`; empty if it is missing or damaged."""
    path = settings.day_folder(settings.reports, day) / QUALITY
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _load_verdict(settings: Settings, day: date) -> dict[str, Any]:
    """Return `verdict` (fit, remarks, not_fit) and `reasons` of the day's report."""
    quality = read_quality(settings, day)
    try:
        return {name: quality[name] for name in ("verdict", "reasons")}
    except KeyError:
        path = settings.day_folder(settings.reports, day) / QUALITY
        raise InputMissing(
            f"{day} has no verdict: {path} is missing, damaged or of an earlier version. Nothing "
            f"was changed. Write the report again: `python -m pipelines report --date {day}`."
        ) from None


def _verify(folder: Path) -> None:
    for name, facts in read_manifest(folder)["files"].items():
        if sha256(folder / name) != facts["sha256"]:
            raise IntegrityError(
                f"{folder / name} differs from its {MANIFEST}: its bytes were changed after it "
                "was published. Nothing was repaired. Run the date again to publish it again."
            )
