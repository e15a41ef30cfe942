"""A person disputes a decision, and a human looks at it: who, when, with which result."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Literal

from pipelines.core.database import connect
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.home.person_ledger import append_entry, list_reviews, read_ledger
from pipelines.core.settings import Settings
from pipelines.persons.collect import hash_leads
from pipelines.persons.erase import refuse_named
from pipelines.persons.identify import Kind, find_leads, read_identifiers
from pipelines.persons.orders import find_open_date

Result = Literal["upheld", "changed", "withdrawn"]
RESULTS: tuple[Result, ...] = ("upheld", "changed", "withdrawn")
"""The decision stays; it is changed; the person does not ask any more."""


def open_review(
    settings: Settings, kind: Kind, lines: Iterable[str], day: date, *, by: str, reason: str
) -> dict[str, Any]:
    """Record that the person disputes what was decided on `day`; return the entry of the ledger.

    Raises:
        UsageError: Several persons are named.
        InputMissing: The person has no lead on that date.
        PersonUnclear: The identifier names several persons.
    """
    identifiers = read_identifiers(kind, lines)
    refuse_named(reason, [value for _, value in identifiers])
    if len(identifiers) != 1:
        raise UsageError(f"{len(identifiers)} persons are named, a review is of one. Nothing done.")
    with connect(settings) as connection:
        found = find_leads(connection, settings, kind, identifiers)
        dates = found.leads["lead_on"].to_pylist()
        if day not in dates:
            known = ", ".join(sorted({f"{each}" for each in dates})) or "none"
            raise InputMissing(
                f"The person has no lead on {day}; dates with one: {known}. No review was opened."
            )
        is_of_day = [each == day for each in dates]
        hashes = sorted(hash_leads(connection, settings, found.leads.filter(is_of_day)).values())
    name = f"review-{datetime.now(UTC):%Y%m%dT%H%M%S}-{hashes[0][:6]}"
    return append_entry(
        settings,
        {
            "verb": "review",
            "id": name,
            "by": by,
            "reason": reason,
            "date": f"{day}",
            "known_on": f"{find_open_date(settings)}",
            "leads": hashes,
        },
    )


def decide_review(
    settings: Settings, review: str, result: Result, *, by: str, note: str
) -> dict[str, Any]:
    """Record the result of a review; return the entry of the ledger.

    Raises:
        InputMissing: There is no such review, or it has a result.
    """
    if not any(each.id == review and each.decided_on is None for each in list_reviews(settings)):
        raise InputMissing(
            f"There is no open review {review}. Nothing was recorded. List the open ones: "
            "`banyan person contest --list`."  # words: keep - the verb's name
        )
    refuse_named(note, [key.split("/", 1)[1] for key in find_leads_of(settings, review)])
    return append_entry(
        settings,
        {
            "verb": "decide",
            "review": review,
            "result": result,
            "by": by,
            "reason": note,
            "known_on": f"{find_open_date(settings)}",
        },
    )


def list_open_reviews(settings: Settings) -> list[dict[str, Any]]:
    """Return the reviews without a result, each with its leads, which the home still has."""
    entries = {entry.get("id"): entry for entry in read_ledger(settings)}
    return [
        {
            "id": review.id,
            "decision_on": f"{review.decision_on}",
            "known_on": f"{review.known_on}",
            "by": entries[review.id]["by"],
            "reason": entries[review.id]["reason"],
            "leads": find_leads_of(settings, review.id),
        }
        for review in list_reviews(settings)
        if review.decided_on is None
    ]


def find_leads_of(settings: Settings, review: str) -> list[str]:
    """Return CHANNEL/LEAD of the leads of a review; none of an erased person."""
    entry = next(entry for entry in read_ledger(settings) if entry.get("id") == review)
    path = settings.lake / "leads" / f"date={entry['date']}" / "leads.parquet"
    if not path.is_file():
        return []
    with connect(settings) as connection:
        leads = connection.read_parquet(str(path), hive_partitioning=False)
        table = leads.project("channel_id, lead_id").to_arrow_table()
        wanted = set(entry["leads"])
        hashes = hash_leads(connection, settings, table)
        return sorted(key for key, hash_ in hashes.items() if hash_ in wanted)
