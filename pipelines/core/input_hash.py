"""What the marts of a day were made from: one hash over all partitions of each input."""

import hashlib
from datetime import date
from pathlib import Path

from expectations.contracts import feeds
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings


def marts_inputs(settings: Settings, day: date) -> dict[str, str]:
    """Return folder -> one hash over its partitions up to `day` (of the matches: before it).

    An outcome finds its lead through the matches of earlier days, so they are an input, too.
    """
    lake = {f"lake/{feed}": _digest(settings.lake / feed, f"date={day}") for feed in feeds()}
    earlier = _digest(settings.matches, f"date={day}", inclusive=False)
    return lake | {"matches": earlier}


def _digest(root: Path, last: str, *, inclusive: bool = True) -> str:
    digest = hashlib.sha256()
    for folder in sorted(root.glob("date=*")):
        if folder.name < last or (inclusive and folder.name == last):
            content = read_manifest(folder)["content_sha256"]
            digest.update(f"{folder.name} {content}\n".encode())
    return digest.hexdigest()
