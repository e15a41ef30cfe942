"""Reconcile the leads of a day: counts in equal counts out, or nothing is published.

received = quarantined + duplicates + suppressed + matched + unmatched
"""

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.errors import IntegrityError
from pipelines.core.home.erasures import read_tombstones
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

LEAD_KEY = ["channel_id", "lead_id"]


@dataclass(frozen=True)
class LeadCounts:
    """Leads of one day by outcome; each lead is counted once."""

    received: int
    quarantined: int
    """Rows quarantined by ingest, with the rows of rejected files."""
    duplicates: int
    """Leads sent again by a channel, or merged into the canonical lead of the same person."""
    suppressed: int
    matched: int
    unmatched: int

    def as_dict(self) -> dict[str, int]:
        """Return name -> count."""
        return asdict(self)


def reconcile_leads(
    settings: Settings, day: date, *, matches: pa.Table, unmatched: pa.Table
) -> LeadCounts:
    """Return the counts of the leads received for `day`.

    Args:
        settings: With the lake's manifest and the marts of `day`.
        day: The business date.
        matches: The day's matches; columns `channel_id`, `lead_id`.
        unmatched: The leads without a match; also `stage`.

    Raises:
        IntegrityError: A lead is lost or counted twice.
    """
    lake = settings.day_folder(settings.lake / "leads", day)
    intake = _sum_channels(read_manifest(lake))
    for name in ("received", "loaded"):  # in a replay; no other run has erased leads
        intake[name] -= _count_erased(lake)
    leads = pq.read_table(
        settings.day_folder(settings.marts, day) / "leads.parquet",
        columns=[*LEAD_KEY, "exclusion_stage"],
    )
    is_merged = pc.fill_null(pc.equal(leads["exclusion_stage"], "duplicate"), fill_value=False)
    merged = leads.filter(is_merged).select(LEAD_KEY)
    matched = matches.select(LEAD_KEY).group_by(LEAD_KEY).aggregate([])
    _require_equal("loaded by ingest", intake["loaded"], "in the marts", len(leads), day)
    _require_partition(leads.select(LEAD_KEY), [merged, matched, unmatched.select(LEAD_KEY)], day)
    suppressed = pc.sum(pc.equal(unmatched["stage"], "suppressed")).as_py() or 0
    counts = LeadCounts(
        received=intake["received"],
        quarantined=intake["quarantined"],
        duplicates=intake["duplicates"] + len(merged),
        suppressed=suppressed,
        matched=len(matched),
        unmatched=len(unmatched) - suppressed,
    )
    out = sum(counts.as_dict().values()) - counts.received
    _require_equal("received", counts.received, "accounted for", out, day)
    return counts


def _sum_channels(manifest: dict[str, Any]) -> dict[str, int]:
    """Return the intake counts of all channels together."""
    names = ("received", "loaded", "quarantined", "duplicates")
    return {name: sum(channel[name] for channel in manifest["counts"].values()) for name in names}


def _count_erased(lake: Path) -> int:
    """Return the leads of the lake that erasures have removed; the manifest still counts them."""
    files = [tombstone["files"].get("leads.parquet", {}) for tombstone in read_tombstones(lake)]
    return sum(facts["changed"] for facts in files if facts.get("treatment") == "remove")


def _require_equal(name: str, count: int, other: str, other_count: int, day: date) -> None:
    if count != other_count:
        raise IntegrityError(
            f"{day}: {count:,} leads were {name}, but {other_count:,} are {other}. Matches are not "
            "published. Run the day again from ingest; if the error remains, the manifests of "
            "lake/leads, marts and pairs of that date show where the count changes."
        )


def _require_partition(leads: pa.Table, parts: list[pa.Table], day: date) -> None:
    """Raise `IntegrityError` unless `parts` together have each of `leads` exactly once."""
    counted = pa.concat_tables(parts).combine_chunks()
    distinct = counted.group_by(LEAD_KEY).aggregate([])
    _require_equal("counted", len(counted), "distinct", len(distinct), day)
    known = counted.join(leads, LEAD_KEY, join_type="inner")
    _require_equal("counted", len(counted), "leads of the day", len(known), day)
    _require_equal("in the marts", len(leads), "counted", len(counted), day)
