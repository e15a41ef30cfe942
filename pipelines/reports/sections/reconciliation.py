"""The leads at every border after the first: what goes in equals what comes out."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.report_data import Count, Crossing, Facts, Marts


def marts(settings: Settings, day: date) -> Marts:
    """Return what the marts of `day` say of leads and outcomes."""
    counts: dict[str, Any] = read_manifest(settings.day_folder(settings.marts, day))["counts"]
    return Marts(
        leads=counts["leads"],
        leads_to_match=counts["leads_to_match"],
        leads_excluded=_split(counts["leads_excluded"]),
        outcomes=counts["outcomes"],
        outcomes_unlinked=_split(counts["outcomes_unlinked"]),
    )


def crossings(facts: Facts) -> tuple[Crossing, ...]:
    """Return the crossings of the leads whose both sides are published, in the order of the day."""
    return (*_to_marts(facts), *_to_matches(facts), *_to_outbox(facts))


def _to_marts(facts: Facts) -> Iterator[Crossing]:
    """Yield: the loaded leads of the lake are in the marts, to be matched or set aside."""
    if facts.marts and facts.borders:
        loaded = sum(border.loaded for border in facts.borders if border.feed == "leads")
        to_match = Count("to be matched", facts.marts.leads_to_match)
        yield Crossing("lake to marts", loaded, (to_match, *facts.marts.leads_excluded))


def _to_matches(facts: Facts) -> Iterator[Crossing]:
    """Yield: the leads of the marts are matched or not; a merged one stands for itself no more."""
    leads, marts = facts.matching.leads, facts.marts
    if leads and marts:
        merged = [part for part in marts.leads_excluded if part.name == "duplicate"]
        ends = [Count(name, leads.as_dict()[name]) for name in ("matched", "unmatched")]
        suppressed = Count("suppressed", leads.suppressed)
        yield Crossing("marts to matches", marts.leads, (*ends, suppressed, *merged))


def _to_outbox(facts: Facts) -> Iterator[Crossing]:
    """Yield: the matches are in the lead files, or held back."""
    if facts.matching.matches is not None:
        delivered = sum(row.rows for row in facts.matching.deliveries)
        held_back = sum(row.held_back for row in facts.matching.deliveries)
        parts = (Count("delivered", delivered), Count("held back", held_back))
        yield Crossing("matches to outbox", facts.matching.matches, parts)


def _split(counts: dict[str, int]) -> tuple[Count, ...]:
    return tuple(Count(name, count) for name, count in sorted(counts.items()))
