"""Restrictions that name an institution, lead or folder that nobody knows: they may be misspelt.

An order for an institution that no list names would restrict nobody, so it holds for every
institution. Where no careful reading exists, a finding names the source.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from difflib import SequenceMatcher
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import Contract, contracts
from pipelines.core import restrictions
from pipelines.core.database import connect, create_known_view
from pipelines.core.settings import Settings
from pipelines.ingest.landing import DEPTH, NOT_OPENED, parse_date
from pipelines.ingest.ledger import Entry
from pipelines.ingest.misplaced import read_resembled_feed
from pipelines.ingest.reading.column_names import split_words

ORDER_LISTS = "suppressions"
SIMILAR = 0.8
"""Least similarity of a folder's name and a feed's."""

ORDERS = """
    select
        'suppressions' as feed, platform_id as source, subject_type, subject,
        'unreadable_order' as reason, null as institution_id,
        'suppressions/' || platform_id || '/' || landed_on || '/' || file as file,
        null as line
    from suppressions_of_the_day
    anti join institutions using (institution_id)
    where institution_id is not null
"""
"""Orders of the day for institutions that no list names, for every institution."""

UNKNOWN_LEADS = """
    select platform_id as source
    from suppressions_of_the_day as orders
    where subject_type = 'lead' and not exists (
        select 1 from leads where leads.channel_id || '/' || leads.lead_id = orders.subject
    )
"""
UNKNOWN_LENDERS = """
    select distinct institution_id as source
    from (
        select institution_id from product_rules_of_the_day
        union all
        select institution_id from product_fees_of_the_day
    )
    anti join institutions using (institution_id)
"""
FINDINGS = {"order_of_unknown_lead": UNKNOWN_LEADS, "rules_of_unknown_institution": UNKNOWN_LENDERS}
"""Id of a finding -> SQL of its rows."""


def widen_orders(settings: Settings, day: date, orders: pa.Table) -> pa.Table:
    """Return the closing orders of `day`, for every institution where theirs is unknown.

    The orders that sources sent for unknown institutions are among them. Before the first list of
    institutions nobody is known, and nobody receives anything.
    """
    with connect(settings) as connection:
        if not _create_views(connection, settings, day):
            return orders
        connection.register("closing", orders)
        widened = connection.sql(
            f"""
            select distinct * replace (
                case
                    when institution_id in (select institution_id from institutions)
                        then institution_id
                end as institution_id
            )
            from closing
            union all
            ({ORDERS})
            """
        ).to_arrow_table()
        connection.unregister("closing")
    return widened.cast(restrictions.ORDERS)


def find_unknown_references(settings: Settings, day: date) -> Iterator[tuple[str, pa.Table]]:
    """Yield the id and the rows (`source`) of each finding on names that nobody knows."""
    with connect(settings) as connection:
        if not _create_views(connection, settings, day):
            return
        for identifier, query in FINDINGS.items():
            rows = connection.sql(query).to_arrow_table()
            if rows.num_rows:
                yield identifier, rows


def _create_views(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> bool:
    """Create the views of the queries; return whether any list of institutions is known."""
    for feed in ("institutions", "leads"):
        create_known_view(connection, settings, feed, day)
    for feed in ("suppressions", "product_rules", "product_fees"):
        file = settings.day_folder(settings.lake / feed, day) / f"{feed}.parquet"
        if not file.is_file():
            return False
        connection.read_parquet(str(file), hive_partitioning=False).create_view(
            f"{feed}_of_the_day"
        )
    return bool(connection.execute("select 1 from institutions limit 1").fetchall())


def list_misplaced(entries: Iterable[Entry], day: date) -> pa.Table:
    """Return the restrictions of files outside of every feed that resemble one by name or header.

    Args:
        entries: The ledger; a file that was put into the right folder since restricts no more.
        day: The date on which the files were found.
    """
    entries = tuple(entries)
    placed = _list_placed(entries)
    found = [entry for entry in entries if not entry.feed and entry.known_on == f"{day}"]
    rows = [
        row
        for entry in found
        for row in _describe_misplaced(entry)
        if (row["feed"], row["source"], entry.sha256) not in placed
    ]
    return pa.Table.from_pylist(rows, schema=restrictions.SCHEMA)


def _list_placed(entries: Iterable[Entry]) -> set[tuple[str, str, str]]:
    """Return feed, source and hash of the files in valid folders; with an empty source as well."""
    placed = {(e.feed, e.source, e.sha256) for e in entries if e.feed and e.state == "taken"}
    return placed | {(feed, "", sha256) for feed, _, sha256 in placed}


def list_of_other_feeds(
    rejected: Iterable[Mapping[str, Any]], entries: Iterable[Entry]
) -> pa.Table:
    """Return the restrictions of rejected files that are, by their header, files of another feed.

    Args:
        rejected: `feed`, `source`, `file` and `message` of the rejected files of a day.
        entries: The ledger; a file that was put into the right folder since restricts no more.
    """
    entries = tuple(entries)
    placed, hashes = _list_placed(entries), {entry.path: entry.sha256 for entry in entries}
    by_feed = {contract.feed: contract for contract in contracts()}
    rows = []
    for file in rejected:
        feed = read_resembled_feed(file["message"])
        action = _file_action(by_feed[feed]) if feed else None
        if feed and action and (feed, "", hashes.get(file["file"], "")) not in placed:
            owner = by_feed[feed].source_column
            # a channel's folder says nothing about the platform that sent the list
            source = file["source"] if by_feed[file["feed"]].source_column == owner else ""
            row = {"feed": feed, "action": action, "reason": "header", "source": source}
            row |= {"file": file["file"]}
            row["institution_id"] = source or None if owner == "institution_id" else None
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=restrictions.SCHEMA)


def _describe_misplaced(entry: Entry) -> Iterator[dict[str, Any]]:
    *folders, name = entry.path.split("/")
    parts = [*folders, name.partition(".")[0]]
    by_header = read_resembled_feed(entry.note)
    for contract in contracts():
        action = _file_action(contract)
        named = [part for part in parts if _is_named(part, contract.feed)]
        reason = "folder" if named else "header" if by_header == contract.feed else None
        if action and reason and (entry.bytes or entry.sha256 == NOT_OPENED):
            source = _guess_source(folders, named)
            owner = source or None if contract.source_column == "institution_id" else None
            yield {
                "feed": contract.feed,
                "source": source,
                "institution_id": owner,
                "action": action,
                "reason": reason,
                "file": entry.path,
            }


def _guess_source(folders: Sequence[str], named: Sequence[str]) -> str:
    """Return the folder that is probably the source's; empty if there is none."""
    others = [folder for folder in folders if folder not in named]
    if not named and len(folders) == DEPTH - 1:
        others = others[1:]  # the folder of a feed that nobody knows
    return next((folder for folder in others if parse_date(folder) is None), "")


def _is_named(part: str, feed: str) -> bool:
    """Return whether a folder or file is named like a feed, or like a list of orders."""
    patterns = policy.restricting_names().order_lists if feed == ORDER_LISTS else ()
    words = split_words(part)
    return _is_similar(part, feed) or any(re.search(pattern, words) for pattern in patterns)


def _file_action(contract: Contract) -> str | None:
    action = contract.on_unreadable.file if contract.on_unreadable else None
    return action if action in restrictions.STRICTEST_FIRST else None


def _is_similar(one: str, other: str) -> bool:
    return SequenceMatcher(None, one.lower(), other, autojunk=False).ratio() >= SIMILAR
