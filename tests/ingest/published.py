"""The published rows, records, counts and hashes of a run, as Python objects."""

from datetime import date
from typing import Any

import pyarrow.parquet as pq

from pipelines.core.publishing import read_manifest, sha256
from pipelines.core.settings import Settings
from tests.helpers.landing import DAY


def loaded(settings: Settings, feed: str = "leads", day: date = DAY) -> list[dict[str, Any]]:
    """Return the rows of a lake partition."""
    return pq.read_table(
        Settings.day_folder(settings.lake / feed, day) / f"{feed}.parquet"
    ).to_pylist()


def quarantined(settings: Settings, feed: str = "leads", day: date = DAY) -> list[dict[str, Any]]:
    """Return the records of a quarantine partition."""
    folder = Settings.day_folder(settings.quarantine / feed, day)
    return pq.read_table(folder / "quarantine.parquet").to_pylist()


def counts(settings: Settings, feed: str = "leads", day: date = DAY) -> dict[str, dict[str, int]]:
    """Return the counts of a partition, by source."""
    manifest = read_manifest(Settings.day_folder(settings.lake / feed, day))
    by_source: dict[str, dict[str, int]] = manifest["counts"]
    return by_source


def published(settings: Settings) -> dict[str, str]:
    """Return the hash of every published file, ledger and manifests included."""
    roots = (settings.lake, settings.quarantine, settings.ledger)
    files = {
        str(path.relative_to(settings.home)): sha256(path)
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    assert files, "nothing is published; a comparison would pass without comparing any file"
    return files
