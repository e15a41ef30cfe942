"""The later reconciliation points: leads from lake to marts to matches, matches to outbox."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.sections.intake import FeedIntake
from pipelines.reports.sections.matching import Count, Matching


@dataclass(frozen=True)
class MartCounts:
    """Leads and outcomes of the day's marts."""

    leads: int
    leads_to_match: int
    leads_excluded: tuple[Count, ...]
    """Leads that are not matched, by reason."""
    outcomes: int
    """Outcomes known by the end of the day that belong to a known lead."""
    outcomes_unlinked: tuple[Count, ...]
    """Outcomes that could not be linked to a lead, by reason."""


@dataclass(frozen=True)
class ReconciliationPoint:
    """Leads, or matches, between two stages: what goes in equals the sum of what comes out."""

    name: str
    received: int
    parts: tuple[Count, ...]

    @property
    def adds_up(self) -> bool:
        """Return whether everything that went in is counted exactly once."""
        return self.received == sum(part.count for part in self.parts)


def load_mart_counts(settings: Settings, day: date) -> MartCounts:
    """Return the counts of leads and outcomes that the manifest of the marts states."""
    counts: dict[str, Any] = read_manifest(settings.day_folder(settings.marts, day))["counts"]
    return MartCounts(
        leads=counts["leads"],
        leads_to_match=counts["leads_to_match"],
        leads_excluded=_by_reason(counts["leads_excluded"]),
        outcomes=counts["outcomes"],
        outcomes_unlinked=_by_reason(counts["outcomes_unlinked"]),
    )


def reconcile(
    intake: Sequence[FeedIntake], marts: MartCounts | None, matching: Matching
) -> tuple[ReconciliationPoint, ...]:
    """Return the points of which both sides are published, in the order of the day."""
    return (
        *_lake_to_marts(intake, marts),
        *_marts_to_matches(marts, matching),
        *_matches_to_outbox(matching),
    )


def _lake_to_marts(
    intake: Sequence[FeedIntake], marts: MartCounts | None
) -> Iterator[ReconciliationPoint]:
    """Loaded leads are in the marts, either to be matched or excluded."""
    if marts and intake:
        loaded = sum(row.loaded for row in intake if row.feed == "leads")
        to_match = Count("to be matched", marts.leads_to_match)
        yield ReconciliationPoint("lake to marts", loaded, (to_match, *marts.leads_excluded))


def _marts_to_matches(
    marts: MartCounts | None, matching: Matching
) -> Iterator[ReconciliationPoint]:
    """Leads of the marts are matched, unmatched, suppressed or merged into the canonical lead."""
    leads = matching.leads
    if leads and marts:
        merged = [part for part in marts.leads_excluded if part.name == "duplicate"]
        ends = [Count(name, leads.as_dict()[name]) for name in ("matched", "unmatched")]
        suppressed = Count("suppressed", leads.suppressed)
        yield ReconciliationPoint("marts to matches", marts.leads, (*ends, suppressed, *merged))


def _matches_to_outbox(matching: Matching) -> Iterator[ReconciliationPoint]:
    """Matches are in the lead files or held back.

    Before any file is written there is nothing to compare: a day on hold waits for its decision,
    and of another one each institution's missing file is a finding.
    """
    if matching.matches is not None and (matching.deliveries or not matching.matches):
        delivered = sum(row.rows for row in matching.deliveries)
        held_back = sum(row.held_back for row in matching.deliveries)
        parts = (Count("delivered", delivered), Count("held back", held_back))
        yield ReconciliationPoint("matches to outbox", matching.matches, parts)


def _by_reason(counts: dict[str, int]) -> tuple[Count, ...]:
    return tuple(Count(name, count) for name, count in sorted(counts.items()))
