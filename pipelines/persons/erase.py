"""Erase persons: from every file of the home, in one pass, with a proof.

1. An order is landed, so that the persons are not matched when they come again.
2. The institutions that received them are noticed with the notices of the next date.
3. Every file is rewritten without them (`home_pass`), and then searched for them (`search`).
4. The proof has the counts by place and the hashes before and after; the ledger has the proof's
   hash.

A killed erasure is completed by the next one, or by `--resume`.
"""

import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.database import connect, query_table
from pipelines.core.errors import BanyanError, InputMissing, UsageError
from pipelines.core.evidence.publication_log import log_erasure
from pipelines.core.home.erasures import BACKUPS, NOTICES, notices_path, proof_path
from pipelines.core.home.person_ledger import append_entry, read_ledger
from pipelines.core.publishing import sha256, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json_lines
from pipelines.core.translation import plural
from pipelines.persons.held import find_held, find_ordered
from pipelines.persons.home_pass import HomePass
from pipelines.persons.identify import (
    SQL,
    Found,
    Kind,
    create_leads_view,
    read_identifiers,
)
from pipelines.persons.journal import Journal, list_open
from pipelines.persons.orders import find_open_date, land_order, list_order_subjects
from pipelines.persons.search import SearchResult, search_home
from pipelines.persons.subjects import Subjects, load_subjects

NOT_REACHED = (
    "backups and copies of the home; backups.jsonl lists the backups that `banyan backup` wrote",
    "files that institutions and channels have received; the institutions are noticed",
    "exports of `banyan person export`, which were handed out",
    "deleted blocks of the disk, until they are written again; encrypt the disk of the home",
)
"""What no erasure reaches."""

KEPT = (
    "orders by hash in landing/suppressions and the lake, which protect who comes again",
    "the ids of matches in notices of erasure: by them an institution knows what to erase",
    "matches, deliveries, outcomes and bills without the persons: random ids, no attribute",
)
"""What stays, and why."""


LEDGER_FACTS = (
    *("verb", "id", "by", "reason", "persons", "leads", "known_on"),
    *("kind", "jurisdiction", "through"),
)
"""Facts of a journal that the ledger states."""


class ErasureRefused(BanyanError):
    """Nothing can be erased now; nothing was changed."""


class ErasureIncomplete(BanyanError):
    """Something of the persons is left in the home."""


def erase(settings: Settings, kind: Kind, lines: Iterable[str], *, by: str, reason: str) -> Any:
    """Erase the persons that `lines` name; return the proof, in short.

    Args:
        settings: Settings of the home; the caller holds its lock.
        kind: What names the persons.
        lines: One person a line.
        by: Who decided it.
        reason: Why; it must not name the person.

    Raises:
        InputMissing: None of the persons is known.
        PersonUnclear: An identifier names several persons.
        ErasureIncomplete: Something was left; the message says where.
    """
    identifiers = read_identifiers(kind, lines)
    refuse_named(reason, [value for _, value in identifiers])
    with connect(settings) as connection:
        resume(settings, connection)
        found = find_held(connection, settings, kind, identifiers)
        if not found.persons:
            raise InputMissing(
                f"None of the {plural(len(identifiers), 'person')} is known in {settings.home}: no "
                "lead of the lake, no quarantined row and no landed file has such an identifier. "
                "Nothing was changed and no order was landed. Is it written as the channel sent "
                "it? A refused row is found by phone and identity number, not by its lead."
            )
        unknown = len(identifiers) - found.persons
        journal = _begin(settings, connection, found, by=by, reason=reason, unknown=unknown)
        return complete(settings, connection, journal)


def erase_ordered(settings: Settings, *, by: str, reason: str) -> Any:
    """Erase every person that a received order asks to erase; return the proof, in short.

    Raises:
        ErasureIncomplete: Something was left; the message says where.
    """
    with connect(settings) as connection:
        completed = resume(settings, connection)
        found = find_ordered(connection, settings)
        if not found.persons:
            return {"persons": 0, "completed": completed}
        journal = _begin(settings, connection, found, by=by, reason=reason, unknown=0)
        return complete(settings, connection, journal)


def resume(settings: Settings, connection: duckdb.DuckDBPyConnection | None = None) -> list[Any]:
    """Complete the erasures that were killed; return their proofs, in short."""
    journals = list_open(settings)
    if not journals:
        return []
    if connection is None:
        with connect(settings) as own:
            return [complete(settings, own, journal) for journal in journals]
    return [complete(settings, connection, journal) for journal in journals]


def refuse_named(text: str, values: Iterable[str]) -> None:
    """Raise `UsageError` if a reason or note, which stays in the ledger, has one of `values`."""
    bare = text.replace(" ", "").replace("-", "").upper()
    for value in values:
        if value.upper() in bare or value.lstrip("+").upper() in bare:
            raise UsageError(
                "The reason names the person, and it stays in the ledger. Nothing was done. State "
                "it without the phone, the number and the lead; the number of a ticket will do."
            )


def _begin(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    found: Found,
    *,
    by: str,
    reason: str,
    unknown: int,
) -> Journal:
    """Write the journal, with everything that can't be found out any more once rows are erased."""
    if unfinished := sorted((settings.home / "work" / "ingest").glob("date=*")):
        raise ErasureRefused(
            f"An ingest was killed and is not complete: {unfinished[0]}. Nothing was erased: "
            "its intermediate files have rows as they were received. Run the date again, then "
            "erase."
        )
    subjects = load_subjects(connection, settings, found)
    refuse_named(reason, subjects.leads["lead_id"].to_pylist())
    now = datetime.now(UTC)
    erasure = f"erasure-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    day = find_open_date(settings)
    connection.register("subject_leads", subjects.leads)
    connection.register("subject_matches", subjects.matches)
    notices = query_table(
        connection,
        SQL / "notices.sql",
        {"effective_on": min(now.astimezone(settings.zone).date(), day)},
    )
    notices = _leave_out_noticed(settings, notices)
    known_on = pa.array([day] * notices.num_rows, pa.date32())
    notices = notices.append_column("known_on", known_on).cast(NOTICES)
    facts = {
        "verb": "erase",
        "id": erasure,
        "at": now.isoformat(timespec="seconds"),
        "by": by,
        "reason": reason,
        "persons": found.persons,
        "unknown": unknown,
        "leads": subjects.leads.num_rows,
        "rejected_rows": subjects.rejected.num_rows,
        "matches": subjects.matches.num_rows,
        "known_on": f"{day}",
        "orders": list_order_subjects(connection, subjects),
        "institutions": dict(sorted(Counter(notices["institution_id"].to_pylist()).items())),
    }
    proof_path(settings, erasure).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_parquet(notices, notices_path(settings, erasure))
    return Journal.begin(settings, subjects, facts)


def _leave_out_noticed(settings: Settings, notices: pa.Table) -> pa.Table:
    """Return the notices without the matches of which an institution was noticed to erase them."""
    files = sorted(settings.settlement.glob("date=*/notices.parquet"))
    tables = [
        pq.read_table(file, columns=["match_id", "kind"], partitioning=None) for file in files
    ]
    if not tables:
        return notices
    earlier = pa.concat_tables(tables)
    erased = earlier.filter(pc.equal(earlier["kind"], "erasure"))["match_id"].combine_chunks()
    return notices.filter(pc.invert(pc.is_in(notices["match_id"], value_set=erased)))


def complete(
    settings: Settings, connection: duckdb.DuckDBPyConnection, journal: Journal
) -> dict[str, Any]:
    """Carry out what a journal says, from wherever it was left; return the proof, in short."""
    facts = journal.facts
    orders = facts.get("orders", [])
    known_on = date.fromisoformat(facts["known_on"])
    order = land_order(settings, journal.erasure, known_on, "erasure", orders) if orders else None
    create_leads_view(connection, settings)
    HomePass(settings, connection, journal).run()
    searched = _search(settings, journal)
    changes = _list_changes(settings, journal)
    log_erasure(settings, journal.erasure, [change["path"] for change in changes])
    proof = {
        **{name: value for name, value in facts.items() if name != "orders"},
        "completed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "order": order.relative_to(settings.home).as_posix() if order else None,
        "orders": len(orders),
        "places": _count_places(changes),
        "searched": {"files": searched.files, "bytes": searched.bytes, "found": 0},
        "kept": list(KEPT),
        "not_reached": list(NOT_REACHED),
        "backups": _list_backups(settings),
        "deliver_again": journal.list_redeliveries(),
        "files": changes,
    }
    path = proof_path(settings, journal.erasure)
    write_json(path, proof)
    if journal.erasure not in {entry.get("id") for entry in read_ledger(settings)}:
        entry = {name: facts[name] for name in LEDGER_FACTS if name in facts}
        append_entry(settings, entry | {"proof_sha256": sha256(path)})
    journal.remove()
    return {name: value for name, value in proof.items() if name != "files"} | {
        "files": len(changes),
        "proof": f"{path}",
    }


def _search(settings: Settings, journal: Journal) -> SearchResult:
    """Search what was erased in the places of the journal.

    Raises:
        ErasureIncomplete: Something is left.
    """
    searched = search_home(settings, Subjects.load(journal.folder), journal.scope)
    if searched.found:
        places = ", ".join(
            f"{path} ({count})" for path, count in sorted(searched.found.items())[:5]
        )
        raise ErasureIncomplete(
            f"{journal.erasure}: something of the persons is left in "
            f"{plural(len(searched.found), 'file')}: {places}. Everything else is erased, and an "
            "order is landed. Add the places to pipelines/persons/places.py and complete it: "
            "`banyan person erase --resume`."
        )
    return searched


def _list_changes(settings: Settings, journal: Journal) -> list[dict[str, Any]]:
    """Return each changed file with its hash before and after; null: it is gone."""
    changes = []
    for entry in journal.list_changes():
        path = settings.home / entry["path"]
        after = sha256(path) if path.is_file() else None
        changes.append(
            {
                "path": entry["path"],
                "treatment": entry["treatment"],
                "rows": entry["rows"],
                "sha256_before": entry["sha256"],
                "sha256_after": after,
            }
        )
    return changes


def _count_places(changes: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return top folder of the home -> files and rows that were changed."""
    counts: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"files": 0, "rows": 0})
    for change in changes:
        place = change["path"].split("/")[0]
        counts[place]["files"] += 1
        counts[place]["rows"] += change["rows"]
    return dict(sorted(counts.items()))


def _list_backups(settings: Settings) -> list[dict[str, Any]]:
    path = settings.home / BACKUPS
    return read_json_lines(path) if path.is_file() else []
