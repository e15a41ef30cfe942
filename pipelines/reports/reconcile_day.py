"""Reconcile a finished day: verify its files against their manifests and add up its leads."""

from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, read_manifest, sha256
from pipelines.core.settings import Settings

DESTINATIONS = ("quarantined", "duplicates", "suppressed", "matched", "unmatched")
"""Each received lead ends in exactly one of these."""


def reconcile_day(settings: Settings, day: date) -> dict[str, Any]:
    """Verify the published folders of `day` and return its figures.

    Raises:
        InputMissing: A folder of the day was not published.
        IntegrityError: A published file differs from its manifest, or leads were lost or added.
    """
    for folder in published_folders(settings, day):
        _verify(folder)
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
    return {name: manifest[name] for name in names}


def _verify(folder: Path) -> None:
    for name, facts in read_manifest(folder)["files"].items():
        if sha256(folder / name) != facts["sha256"]:
            raise IntegrityError(
                f"{folder / name} differs from its {MANIFEST}: its bytes were changed after it "
                "was published. Nothing was repaired. Run the date again to publish it again."
            )
