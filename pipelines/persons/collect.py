"""Collect everything that a home holds about one person, as plain values."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from expectations.contracts import load
from pipelines.core.database import connect, create_known_view
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.home.person_ledger import read_ledger
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.events import load_states
from pipelines.explain import explain
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from pipelines.persons.held import find_held
from pipelines.persons.identify import Found, Kind, read_identifiers
from pipelines.persons.landed import read_lines
from pipelines.persons.subjects import NO_WORD, Subjects, list_partitions, load_subjects

Row = dict[str, Any]

HASHED = ("id_number", "phone")
LEAD = "channel_id = $channel and lead_id = $lead"


def find_persons(settings: Settings, kind: Kind, lines: Iterable[str]) -> Row:
    """Return the leads of the persons that `lines` name, with dates and institutions.

    Returns:
        `persons`: for each line its `leads` (channel, lead, date, institutions that received it);
        `rejected`: file and line of their rows that were received and not loaded; `unknown`: the
        number of lines that name nobody who is known; `institutions`.
    """
    identifiers = read_identifiers(kind, lines)
    with connect(settings) as connection:
        found = find_held(connection, settings, kind, identifiers)
        subjects = load_subjects(connection, settings, found)
        received = _list_recipients(connection, subjects)
    persons: dict[int, Row] = {
        line: {"line": line, "leads": []} for line in sorted(found.known.to_pylist())
    }
    for lead in subjects.leads.to_pylist():
        key = (lead["channel_id"], lead["lead_id"])
        persons[lead["person"]]["leads"].append(
            {
                "channel_id": lead["channel_id"],
                "lead_id": lead["lead_id"],
                "date": f"{lead['lead_on']}",
                "institutions": received.get(key, []),
            }
        )
    return {
        "persons": list(persons.values()),
        "rejected": subjects.rejected.sort_by(
            [("path", "ascending"), ("line", "ascending")]
        ).to_pylist(),
        "unknown": len(identifiers) - len(persons),
        "institutions": sorted({name for names in received.values() for name in names}),
    }


def collect_person(settings: Settings, kind: Kind, lines: Iterable[str]) -> Row:
    """Return everything that is held about the one person that `lines` name.

    Raises:
        UsageError: Several persons are named.
        InputMissing: The person is not known.
    """
    identifiers = read_identifiers(kind, lines)
    if len(identifiers) != 1:
        raise UsageError(
            f"{len(identifiers)} persons are named, and an export is of one: nobody may see the "
            "data of another. Nothing was exported."
        )
    with connect(settings) as connection:
        found = find_held(connection, settings, kind, identifiers)
        if not found.persons:
            raise InputMissing(
                f"{settings.home} holds no lead and no received row of this person. Nothing was "
                "exported. Is it written as the channel sent it?"
            )
        subjects = load_subjects(connection, settings, found)
        leads = [_collect_lead(connection, settings, lead) for lead in subjects.leads.to_pylist()]
        return {
            "made_on": f"{datetime.now(UTC).astimezone(settings.zone).date()}",
            "leads": leads,
            "rejected": _find_rejected(connection, settings, subjects),
            "orders": _find_orders(connection, settings, subjects),
            "requests": _find_requests(connection, settings, found),
        }


def hash_leads(
    connection: duckdb.DuckDBPyConnection, settings: Settings, leads: pa.Table
) -> dict[str, str]:
    """Return CHANNEL/LEAD -> keyed hash of each lead, as the ledger of persons names it."""
    create_keyed_hash_macro(connection, load_identifier_key(settings))
    connection.register("hashed_leads", leads)
    rows = connection.execute(
        "select channel_id || '/' || lead_id as key, keyed_hash(sha256('lead|' || key)) "
        "from hashed_leads order by key"
    ).fetchall()
    connection.unregister("hashed_leads")
    return dict(rows)


def _list_recipients(
    connection: duckdb.DuckDBPyConnection, subjects: Subjects
) -> dict[tuple[str, str], list[str]]:
    connection.register("subject_matches", subjects.matches)
    rows = connection.execute(
        """
        select channel_id, lead_id, list(distinct institution_id order by institution_id)
        from subject_matches where is_delivered group by all
        """
    ).fetchall()
    return {(channel, lead): names for channel, lead, names in rows}


def _collect_lead(connection: duckdb.DuckDBPyConnection, settings: Settings, lead: Row) -> Row:
    """Return what is held about one lead."""
    day = lead["lead_on"]
    key = {"channel": lead["channel_id"], "lead": lead["lead_id"]}
    lake = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    received = _query(connection, lake, LEAD, key)
    explanation = _explain(settings, day, (key["channel"], key["lead"]))
    tables = {
        "features": settings.day_folder(settings.marts, day) / "leads.parquet",
        "offers": settings.day_folder(settings.offers, day) / "offers.parquet",
        "scores": settings.day_folder(settings.pairs, day) / "pairs.parquet",
        "reasons": settings.day_folder(settings.reasons, day) / "matches.parquet",
        "refusals": settings.day_folder(settings.reasons, day) / "unmatched.parquet",
        "matches": settings.day_folder(settings.matches, day) / "matches.parquet",
        "unmatched": settings.day_folder(settings.unmatched, day) / "unmatched.parquet",
    }
    held = {name: _query(connection, path, LEAD, key) for name, path in tables.items()}
    return {
        "channel_id": key["channel"],
        "lead_id": key["lead"],
        "date": f"{day}",
        "received": received[0] if received else {},
        "explanation": explanation,
        **held,
        "deliveries": _find_deliveries(connection, settings, day, key),
        "outcomes": _find_in(
            connection, settings.lake / "outcomes", "outcomes", key, held["matches"]
        ),
        "notices": _find_in(connection, settings.settlement, "notices", key, held["matches"]),
        "returns": _find_in(
            connection, settings.settlement, "return_decisions", key, held["matches"]
        ),
    }


def _explain(settings: Settings, day: date, lead: tuple[str, str]) -> Row:
    """Return the explanation of the decision; empty with `missing` where it can't be made again."""
    try:
        return explain(settings, day, lead=lead)
    except InputMissing as error:
        return {"missing": f"{error}", "products": []}


def _find_deliveries(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, key: Row
) -> list[Row]:
    """Return which institutions received the lead: date, columns, state of the match."""
    files = sorted(settings.day_folder(settings.delivered, day).glob("[!.]*.parquet"))
    rows: list[Row] = []
    for file in files:
        rows += _query(connection, file, LEAD, key)
    states = {row["match_id"]: row for row in load_states(settings, day).to_pylist()}
    found = {}
    for row in rows:
        folder = settings.day_folder(settings.outbox, day) / row["institution_id"]
        manifest = read_manifest(folder) if (folder / MANIFEST).is_file() else {}
        state = states.get(row["match_id"], {})
        found[row["match_id"]] = row | {
            "date": f"{day}",
            "delivery_id": manifest.get("delivery_id"),
            "columns": manifest.get("columns", []),
            "state": state.get("state"),
            "version": state.get("version"),
        }
    return list(found.values())


def _find_in(
    connection: duckdb.DuckDBPyConnection, root: Path, stem: str, key: Row, matches: list[Row]
) -> list[Row]:
    """Return the rows of every date that name the lead, or a match of it."""
    files = list_partitions(root, stem)
    if not files:
        return []
    names = [match["match_id"] for match in matches]
    relation = connection.sql(
        f"""
        select * from read_parquet([{files}], hive_partitioning = false, union_by_name = true)
        where ({LEAD}) or list_contains($matches, match_id)
        """,
        params=key | {"matches": names},
    )
    return _clean(relation.to_arrow_table())


def _find_rejected(
    connection: duckdb.DuckDBPyConnection, settings: Settings, subjects: Subjects
) -> list[Row]:
    """Return the rows that were received and not loaded, as they were received.

    They are in quarantine/, or in a landed file that no run could read.
    """
    rows = _find_quarantined(connection, settings, subjects)
    named = {(row["file"], row["line"]) for row in rows if "line" in row}
    for row in subjects.rejected.to_pylist():
        place = settings.landing / row["path"]
        if (row["path"], row["line"]) in named or not place.is_file():
            continue
        texts = read_lines(place, np.array([row["line"]]))
        rows += [
            {"file": row["path"], "line": row["line"], "received": text.decode("utf-8", "replace")}
            for text in texts
        ]
    return rows


def _find_quarantined(
    connection: duckdb.DuckDBPyConnection, settings: Settings, subjects: Subjects
) -> list[Row]:
    """Return the quarantined rows that are the person's, or that have a word of the person."""
    files = sorted(settings.quarantine.glob("*/date=*/quarantine.parquet"))
    if not files:
        return []
    words = [word.decode() for word in subjects.words]
    rows = connection.sql(
        """
        select * from read_parquet($files, hive_partitioning = false, union_by_name = true)
        where
            list_has_any(string_split_regex(coalesce(received, ''), $no_word), $words)
            or list_contains($lines, file || ':' || line)
        order by file, line, rule
        """,
        params={
            "files": [str(file) for file in files],
            "words": words,
            "no_word": NO_WORD,
            "lines": subjects.rejected_lines.to_pylist(),
        },
    )
    return _clean(rows.to_arrow_table().select(QUARANTINE.names))


def _find_orders(
    connection: duckdb.DuckDBPyConnection, settings: Settings, subjects: Subjects
) -> list[Row]:
    """Return the orders not to use the person's data: who sent them, why and since when."""
    create_known_view(connection, settings, "suppressions", date.max)
    hashes = ("id_number_sha256", "owner_id_number_sha256", "phone_sha256")
    values = subjects.values_of(*hashes, only_own=False).to_pylist()
    values += subjects.lead_keys.to_pylist()
    names = [load("suppressions").source_column, "subject_type", "reason", "institution_id"]
    rows = connection.sql(
        f"select {', '.join([*names, 'effective_at'])} from suppressions "
        "where list_contains($values, subject) order by all",
        params={"values": values},
    )
    return _clean(rows.to_arrow_table())


def _find_requests(
    connection: duckdb.DuckDBPyConnection, settings: Settings, found: Found
) -> list[Row]:
    """Return the entries of the ledger of persons that are about this one."""
    hashes = set(hash_leads(connection, settings, found.leads).values())
    entries = read_ledger(settings)
    own = {entry["id"] for entry in entries if hashes.intersection(entry.get("leads", ()))}
    names = ("verb", "id", "at", "known_on", "date", "restriction", "review", "result")
    return [
        {name: entry[name] for name in names if name in entry}
        for entry in entries
        if own.intersection({entry.get(name) for name in ("id", "restriction", "review")})
    ]


def _query(
    connection: duckdb.DuckDBPyConnection, path: Path, where: str, parameters: Row
) -> list[Row]:
    """Return the rows of a file; none if it is not published."""
    if not path.is_file():
        return []
    relation = connection.sql(
        f"select * from read_parquet($path, hive_partitioning = false) where {where}",
        params={"path": str(path), **parameters},
    )
    return _clean(relation.to_arrow_table())


def _clean(table: pa.Table) -> list[Row]:
    """Return the rows with times and dates as text, without missing values."""
    return [
        {name: _to_text(value) for name, value in row.items() if value is not None}
        for row in table.to_pylist()
    ]


def _to_text(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else value
