"""Apply the retention policy: remove what is due, by the pass and with the proof of an erasure.

No order is landed and nobody is noticed: a period that ends concerns nobody else. Each kind of data
under each jurisdiction is one erasure of its own; a killed one is completed by the next.
"""

import time
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.delivery_policy_types import RetentionKind
from pipelines.core.database import connect, query_table
from pipelines.core.errors import UsageError
from pipelines.core.home.erasures import proof_path
from pipelines.core.home.person_ledger import append_entry
from pipelines.core.home.retention import VERB, RetentionRow, list_currencies, load_retention
from pipelines.core.settings import Settings
from pipelines.persons.erase import complete, resume
from pipelines.persons.identify import ASKED, SQL, Found, create_leads_view
from pipelines.persons.journal import Journal
from pipelines.persons.landed import find_lead_lines, find_outcome_lines
from pipelines.persons.orders import find_open_date
from pipelines.persons.subjects import VALUES, Subjects, load_subjects

MAX_NAMED_LEADS = 100_000
"""Leads up to which texts are searched for every value of theirs; of more the tables and landed
files are rewritten, where they are."""

SECONDS_A_DAY = 86_400


def apply_retention(settings: Settings, day: date, *, by: str) -> dict[str, Any]:
    """Remove everything whose period has ended by the end of `day`; return what was removed.

    Args:
        settings: Settings of the home; the caller holds its lock.
        day: A business date; nothing that is due later goes.
        by: Who, or what, applies it.

    Raises:
        UsageError: `day` is to come: nothing is due by it yet.
    """
    _require_past(settings, day)
    removed = []
    with connect(settings) as connection:
        resumed = resume(settings, connection)
        create_leads_view(connection, settings)
        for kind in policy.retention().kinds:
            if kind.unit == "file":
                removed += _remove_files(settings, kind, by=by)
                continue
            for row in load_retention(settings, day):
                if row.kind == kind.kind and row.due:
                    removed.append(_remove(settings, connection, kind, row, by=by))
                    create_leads_view(connection, settings)
    names = ("id", "kind", "jurisdiction", "through", "leads", "files", "proof")
    return {
        "date": f"{day}",
        "removed": [{name: proof[name] for name in names if name in proof} for proof in removed],
        "resumed": len(resumed),
    }


def _require_past(settings: Settings, day: date) -> None:
    """Raise `UsageError` if `day` lies after today and after every date that was run.

    What is removed can't be restored, and a mistyped year would remove everything.
    """
    today = datetime.now(settings.zone).date()
    if day > max(today, find_open_date(settings) - timedelta(days=1)):
        raise UsageError(
            f"{day} is to come: today is {today}, so what would be due by then is not due yet. "
            "Nothing was removed. Without --date everything that is due by the last date that was "
            "run is removed."
        )


def _remove(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    kind: RetentionKind,
    row: RetentionRow,
    *,
    by: str,
) -> dict[str, Any]:
    """Remove one kind of data of the leads whose period has ended."""
    through = row.due[-1]
    found = Found(ASKED.empty_table(), _select_leads(connection, row, through))
    subjects = load_subjects(connection, settings, found)
    is_last = "*" in kind.places
    if not is_last or subjects.leads.num_rows > MAX_NAMED_LEADS:
        subjects = Subjects(subjects.leads, subjects.matches, VALUES.empty_table())
    now = datetime.now(UTC)
    facts = {
        "verb": VERB,
        "id": f"retention-{kind.kind}-{row.jurisdiction}-{through}-{now:%Y%m%dT%H%M%S}",
        "at": now.isoformat(timespec="seconds"),
        "by": by,
        "reason": f"{row.days} days: {row.source}",
        "kind": kind.kind,
        "jurisdiction": row.jurisdiction,
        "through": f"{through}",
        "persons": subjects.leads.num_rows,
        "leads": subjects.leads.num_rows,
        "matches": subjects.matches.num_rows,
        "known_on": f"{find_open_date(settings)}",
        "scope": [] if is_last else list(kind.places),
    }
    proof_path(settings, facts["id"]).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal = Journal.begin(settings, subjects, facts)
    if any(fnmatchcase("landing/leads/x", pattern) for pattern in kind.places):
        whole = _list_whole_folders(kind, row)
        lines = find_lead_lines(connection, settings, subjects, whole)
        if is_last:
            outcomes = find_outcome_lines(connection, settings, subjects)
            lines = pa.concat_tables([lines, outcomes])
        journal.save_lines(lines)
    return complete(settings, connection, journal)


def _select_leads(
    connection: duckdb.DuckDBPyConnection, row: RetentionRow, through: date
) -> pa.Table:
    """Return the leads whose period has ended since the last time."""
    leads = query_table(
        connection,
        SQL / "retained_leads.sql",
        {
            "currencies": list_currencies(row.jurisdiction),
            "is_default": row.jurisdiction == "default",
            "since": row.removed_through or date.min,
            "through": through,
        },
    )
    number = pa.array(range(1, leads.num_rows + 1), pa.int64())
    return leads.append_column("person", number).select(
        ["person", "channel_id", "lead_id", "lead_on"]
    )


def _list_whole_folders(kind: RetentionKind, row: RetentionRow) -> set[str]:
    """Return the due dates that are past every jurisdiction's period: their files are emptied."""
    longest = max(period.days for period in kind.periods)
    return {
        f"{each}" for each in row.due if each + timedelta(days=longest - row.days) <= row.due[-1]
    }


def _remove_files(settings: Settings, kind: RetentionKind, *, by: str) -> list[dict[str, Any]]:
    """Remove files that were written last before the period began; return one fact about them."""
    period = kind.period("default")
    oldest = time.time() - period.days * SECONDS_A_DAY
    paths = [
        path
        for path in sorted(settings.home.rglob("*"))
        if any(
            fnmatchcase(path.relative_to(settings.home).as_posix(), each) for each in kind.places
        )
        and path.is_file()
        and path.stat().st_mtime < oldest
    ]
    if not paths:
        return []
    for path in paths:
        path.unlink()
    entry = {"verb": VERB, "id": f"retention-{kind.kind}", "by": by, "kind": kind.kind,
             "jurisdiction": "default", "known_on": f"{find_open_date(settings)}",
             "through": f"{datetime.fromtimestamp(oldest, settings.zone).date()}",
             "files": len(paths), "reason": f"{period.days} days: {period.source}"}  # fmt: skip
    return [append_entry(settings, entry)]
