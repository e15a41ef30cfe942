"""The feed of receipts, whose columns are named by words of SQL, reaches the lake."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.ingest.ingest_day import ingest
from tests.helpers.landing import DAY, close_before, land, path_of, row


def test_receipts_are_loaded_once_and_broken_ones_are_quarantined(tmp_path: Path):
    settings = Settings(home=tmp_path, threads=1)
    close_before(settings)
    good, nak = row("receipts"), row("receipts", status="nak", reason="torn")
    broken = [row("receipts", sha256="12"), row("receipts", version=0), row("receipts", at="")]
    land(path_of(settings, "receipts", "bank_01"), [good, good, nak, *broken])
    ingest(settings, DAY)
    lake = settings.day_folder(settings.lake / "receipts", DAY)
    counts = read_manifest(lake)["counts"]["bank_01"]
    assert (counts["received"], counts["loaded"]) == (6, 2)
    assert (counts["quarantined"], counts["duplicates"]) == (3, 1)
    rows = pq.read_table(lake / "receipts.parquet", partitioning=None).to_pylist()
    assert {each["status"] for each in rows} == {"ack", "nak"}
    following = DAY + timedelta(days=1)
    land(path_of(settings, "receipts", "bank_01", following), [good])
    ingest(settings, following)
    later = settings.day_folder(settings.lake / "receipts", following)
    assert read_manifest(later)["counts"]["bank_01"]["duplicates"] == 1
