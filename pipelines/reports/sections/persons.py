"""What persons asked for, from erasures to reviews of decisions; and how long data is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import connect, create_files_view, run_query
from pipelines.core.home.person_ledger import (
    Review,
    list_restrictions,
    list_reviews,
    read_ledger,
)
from pipelines.core.home.retention import VERB, RetentionRow, load_retention
from pipelines.core.settings import Settings
from pipelines.core.translation import Text, join, plural, text, words
from pipelines.reports.verdict import Finding, make_finding

SQL = Path(__file__).parent / "sql"
MAX_REVIEWS = 3
"""Reviews that a finding names."""


@dataclass(frozen=True)
class OpenOrders:
    """Orders to erase a person that became known on one date and are not carried out."""

    known_on: date
    orders: int
    due_on: date


@dataclass(frozen=True)
class Persons:
    """What persons asked for, as known at the end of a business date."""

    erased: int = 0
    """Persons that were erased."""
    unfinished: tuple[str, ...] = ()
    """Erasures that were killed and are not complete."""
    restricted: int = 0
    """Restrictions in force."""
    open_orders: tuple[OpenOrders, ...] = ()
    open_reviews: tuple[Review, ...] = ()
    decided_reviews: int = 0
    retention: tuple[RetentionRow, ...] = ()


def load_persons(settings: Settings, day: date) -> Persons:
    """Return what persons asked for, as known at the end of `day`."""
    reviews = [each for each in list_reviews(settings) if each.known_on <= day]
    is_open = [each for each in reviews if each.decided_on is None or each.decided_on > day]
    known = [
        entry
        for entry in read_ledger(settings)
        if date.fromisoformat(entry["known_on"]) <= day and entry["verb"] != VERB
    ]
    return Persons(
        erased=sum(entry["persons"] for entry in known if entry["verb"] == "erase"),
        unfinished=tuple(sorted(path.name for path in (settings.persons / "open").glob("*"))),
        restricted=sum(
            each.known_on <= day and (each.lifted_on is None or each.lifted_on > day)
            for each in list_restrictions(settings)
        ),
        open_orders=tuple(_find_open_orders(settings, day)),
        open_reviews=tuple(is_open),
        decided_reviews=len(reviews) - len(is_open),
        retention=tuple(load_retention(settings, day)),
    )


def persons_findings(persons: Persons, day: date) -> Iterator[Finding]:
    """Yield what is open or overdue."""
    rights = policy.person_rights()
    if persons.unfinished:
        yield make_finding(
            "erasure_unfinished", ", ".join(persons.unfinished), amount=len(persons.unfinished)
        )
    late = [each for each in persons.open_orders if each.due_on < day]
    orders = sum(each.orders for each in late or persons.open_orders)
    if orders:
        oldest = (late or persons.open_orders)[0]
        yield make_finding(
            "erasure_orders_overdue" if late else "erasure_orders_open",
            text(
                "the oldest became known on {known_on} and is due on {due_on}",
                known_on=f"{oldest.known_on}",
                due_on=f"{oldest.due_on}",
            ),
            amount=orders,
        )
    overdue = [
        each
        for each in persons.open_reviews
        if each.known_on + timedelta(days=rights.review_days) < day
    ]
    for rule, reviews in (("reviews_overdue", overdue), ("reviews_open", persons.open_reviews)):
        if reviews and (rule == "reviews_overdue" or not overdue):
            listed = join(
                (
                    text("{review} (of {day})", review=each.id, day=f"{each.decision_on}")
                    for each in reviews
                ),
                ", ",
                limit=MAX_REVIEWS,
            )
            yield make_finding(rule, listed, amount=len(reviews))
    yield from _retention_findings(persons.retention, day)


def _retention_findings(rows: tuple[RetentionRow, ...], day: date) -> Iterator[Finding]:
    overdue = [row for row in rows if row.overdue]
    if overdue:
        yield make_finding("retention_overdue", join(map(_describe, overdue)), amount=len(overdue))
        return
    until = day + timedelta(days=policy.retention().notice_days)
    if soon := [row for row in rows if row.goes_on and row.goes_on <= until]:
        yield make_finding("retention_due", join(map(_describe, soon)), amount=len(soon))


def _describe(row: RetentionRow) -> Text:
    return text(
        "{kind} {jurisdiction}: {dates} due, the oldest is {oldest}",
        kind=words(row.kind),
        jurisdiction=words(row.jurisdiction),
        dates=plural(len(row.due), "date"),
        oldest=f"{row.oldest}",
    )


def _find_open_orders(settings: Settings, day: date) -> Iterator[OpenOrders]:
    orders = _list_files(settings.lake / "suppressions", "suppressions", day)
    leads = _list_files(settings.lake / "leads", "leads", day)
    if not orders or not leads:
        return
    days = timedelta(days=policy.person_rights().erasure_days)
    with connect(settings) as connection:
        connection.execute(
            """
            create table orders as
            select subject_type, subject, min(cast(date as date)) as known_on
            from read_parquet($files, hive_partitioning = true, union_by_name = true)
            where
                reason = 'erasure'
                and (institution_id is null or institution_id in ('all', '*'))
            group by all
            """,
            {"files": orders},
        )
        if not connection.table("orders").limit(1).fetchall():
            return
        create_files_view(connection, "leads", leads, load("leads").lake_schema)
        for known_on, count in run_query(connection, SQL / "erasure_orders.sql").fetchall():
            yield OpenOrders(known_on, count, known_on + days)


def _list_files(root: Path, stem: str, day: date) -> list[str]:
    last = f"date={day}"
    paths = sorted(root.glob(f"date=*/{stem}.parquet"))
    return [str(path) for path in paths if path.parent.name <= last]
