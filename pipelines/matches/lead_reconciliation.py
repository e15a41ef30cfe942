"""Where every lead of a day went: in = out, or nothing is published.

received = quarantined + duplicates + suppressed + matched + unmatched
"""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings

LEAD = ["channel_id", "lead_id"]


@dataclass(frozen=True)
class LeadCounts:
    """Leads of one day by where they ended; each is in exactly one place."""

    received: int
    quarantined: int
    """Set aside at the gate, with files refused whole counted by their rows."""
    duplicates: int
    """Sent again by a channel, or the same person as a lead that stands."""
    suppressed: int
    matched: int
    unmatched: int

    def as_dict(self) -> dict[str, int]:
        """Return name -> count."""
        return asdict(self)


def counts_of_day(settings: Settings, day: date) -> LeadCounts:
    """Return the counts of a published day, from the files as they stand.

    Raises:
        InputMissing: A folder that is counted isn't published.
        IntegrityError: A lead is lost or counted twice.
    """
    folders = [settings.day_folder(root, day) for root in (settings.matches, settings.unmatched)]
    for folder in folders:
        read_manifest(folder)
    matches = pq.read_table(folders[0] / "matches.parquet", columns=LEAD)
    unmatched = pq.read_table(folders[1] / "unmatched.parquet", columns=[*LEAD, "stage"])
    return count_leads(settings, day, matches=matches, unmatched=unmatched)


def count_leads(
    settings: Settings, day: date, *, matches: pa.Table, unmatched: pa.Table
) -> LeadCounts:
    """Return where each lead received for `day` ended.

    Args:
        settings: Where the lake's manifest and the marts of `day` are.
        day: The business date.
        matches: The day's matches; columns `channel_id`, `lead_id`.
        unmatched: The leads without one; also `stage`.

    Raises:
        IntegrityError: A lead is lost or counted twice.
    """
    gate = _at_the_gate(read_manifest(settings.day_folder(settings.lake / "leads", day)))
    leads = pq.read_table(
        settings.day_folder(settings.marts, day) / "leads.parquet",
        columns=[*LEAD, "exclusion_stage"],
    )
    is_merged = pc.fill_null(pc.equal(leads["exclusion_stage"], "duplicate"), fill_value=False)
    merged = leads.filter(is_merged).select(LEAD)
    matched = matches.select(LEAD).group_by(LEAD).aggregate([])
    _must_agree("loaded by ingest", gate["loaded"], "in the marts", len(leads), day)
    _must_partition(leads.select(LEAD), [merged, matched, unmatched.select(LEAD)], day)
    suppressed = pc.sum(pc.equal(unmatched["stage"], "suppressed")).as_py() or 0
    counts = LeadCounts(
        received=gate["received"],
        quarantined=gate["quarantined"],
        duplicates=gate["duplicates"] + len(merged),
        suppressed=suppressed,
        matched=len(matched),
        unmatched=len(unmatched) - suppressed,
    )
    out = sum(counts.as_dict().values()) - counts.received
    _must_agree("received", counts.received, "accounted for", out, day)
    return counts


def _at_the_gate(manifest: dict[str, Any]) -> dict[str, int]:
    """Return the counts of all channels together."""
    names = ("received", "loaded", "quarantined", "duplicates")
    return {name: sum(channel[name] for channel in manifest["counts"].values()) for name in names}


def _must_agree(what: str, count: int, other: str, other_count: int, day: date) -> None:
    if count != other_count:
        raise IntegrityError(
            f"{day}: {count:,} leads were {what}, but {other_count:,} are {other}. Matches are not "
            "published. Run the day again from ingest; if it stays, the manifests of lake/leads, "
            "marts and pairs of that date show where the count changes."
        )


def _must_partition(leads: pa.Table, places: list[pa.Table], day: date) -> None:
    """Raise `IntegrityError` unless each of `leads` is in exactly one of `places`, and none other is."""
    placed = pa.concat_tables(places).combine_chunks()
    distinct = placed.group_by(LEAD).aggregate([])
    _must_agree("given a place", len(placed), "different ones", len(distinct), day)
    known = placed.join(leads, LEAD, join_type="inner")
    _must_agree("given a place", len(placed), "leads of the day", len(known), day)
    _must_agree("in the marts", len(leads), "given a place", len(placed), day)
