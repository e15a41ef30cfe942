"""Close a day: check what was published against its manifests, and state the day's figures."""

from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, read_manifest, sha256
from pipelines.core.settings import Settings

ENDS = ("quarantined", "duplicates", "suppressed", "matched", "unmatched")
"""Where a received lead may end; every one ends in exactly one of them."""


def close(settings: Settings, day: date) -> dict[str, Any]:
    """Check the published folders of `day` and return its figures.

    Raises:
        InputMissing: A folder of the day was not published.
        IntegrityError: A published file isn't what its manifest says, or leads were lost or made up.
    """
    for folder in published(settings, day):
        _same_as_manifest(folder)
    found = figures(settings, day)
    ends = sum(found[end] for end in ENDS)
    if found["received"] != ends:
        raise IntegrityError(
            f"{found['received']:,} leads were received for {day} but {ends:,} are accounted for "
            f"({', '.join(f'{end} {found[end]:,}' for end in ENDS)}). The files stand, but don't "
            f"send them on. The counts are in {settings.day_folder(settings.matches, day) / MANIFEST} "
            f"and in the manifests of {settings.lake / 'leads'}."
        )
    return found


def published(settings: Settings, day: date) -> list[Path]:
    """Return the folders that a finished `day` has published from the marts on, in order."""
    matching = [settings.matches, settings.offers, settings.unmatched, settings.reasons]
    whole = [settings.marts, settings.pairs, *matching]
    sent = sorted(settings.day_folder(settings.outbox, day).glob(f"*/{MANIFEST}"))
    return [
        *(settings.day_folder(folder, day) for folder in whole),
        *(manifest.parent for manifest in sent),
        settings.day_folder(settings.reports, day),
    ]


def figures(settings: Settings, day: date) -> dict[str, Any]:
    """Return the day's headline figures, as `run --json` prints them."""
    manifest = read_manifest(settings.day_folder(settings.matches, day))
    names = ("received", *ENDS, "matches", "institutions", "explored", "gap")
    return {name: manifest[name] for name in names}


def _same_as_manifest(folder: Path) -> None:
    for name, facts in read_manifest(folder)["files"].items():
        if sha256(folder / name) != facts["sha256"]:
            raise IntegrityError(
                f"{folder / name} is not what its {MANIFEST} says: its bytes were changed after it "
                "was published. Nothing was mended. Run the date again to publish it anew."
            )
