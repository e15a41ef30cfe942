"""Consent, withdrawals and orders: on what matches rest, and how fast a person's word is obeyed."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import create_files_view, create_known_view, query_table
from pipelines.core.settings import Settings
from pipelines.core.translation import text
from pipelines.deliveries.ledger.receipts import JUDGED
from pipelines.deliveries.withdrawal_notices import NOTICES
from pipelines.reports.sections.intake import list_lead_files

SQL = Path(__file__).parent / "sql"
CONSENT_COLUMNS = (
    *("channel_id", "lead_id", "consent_scope", "consent_at", "consent_version"),
    *("consent_withdrawn_at", "consent_text_sha256", "consent_evidence"),
)
FAR = date(9999, 12, 31)
NOTICE_DAYS = 90
"""Days up to the date whose notices are judged."""

STATES = {
    "no_register": text("no text registered"),
    "registered": text("the registered text"),
    "unknown_version": text("version not registered"),
    "not_stated": text("text not stated"),
    "contradicts": text("another text than registered"),
}
"""State of a consent text -> its words."""


@dataclass(frozen=True)
class ConsentVersion:
    """The day's leads of one version of consent and one text."""

    version: str
    text_hash: str
    """First 12 digits of the SHA-256 of the text; empty if the channel does not state it."""
    state: str
    """A key of `STATES`."""
    leads: int
    matched: int
    named: int
    """Leads whose consent names its recipients; the others cover every institution."""
    withdrawn: int
    with_evidence: int
    oldest: str | None


@dataclass(frozen=True)
class InstitutionConsent:
    """The consents on which the matches of one institution rest."""

    institution_id: str
    matches: int
    named: int
    """Matches whose consent names the institution."""
    versions: int
    with_text: int
    with_evidence: int
    oldest: str | None


@dataclass(frozen=True)
class NoticeRecord:
    """The withdrawal notices of one institution, and how fast they went and were answered."""

    institution_id: str
    notices: int
    people: int
    mean_days_to_notice: float | None
    """From the person's word; None if its time is not known for any."""
    longest_days_to_notice: int | None
    acknowledged: int
    longest_days_to_receipt: int | None
    acknowledged_late: int
    """Received after the deadline."""
    open: int
    overdue: int
    next_deadline: str | None


@dataclass(frozen=True)
class OrderSource:
    """The suppression orders of one source."""

    source: str
    """Empty: ingest derived them from what withdraws or cannot be read."""
    orders: int
    matched: int
    """Orders about a lead of the last days."""
    of_every_institution: int
    reasons: tuple[str, ...]
    leads: int
    """Leads of the last days."""


def create_day_views(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> None:
    """Create `day_leads`, the consents of the day's leads, and `day_matches`.

    Raises:
        OSError: The day's leads or matches are not published.
    """
    lake = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    sent = set(pq.read_schema(lake).names)  # a day of an earlier version lacks newer columns
    columns = ", ".join(
        name if name in sent else f"cast(null as varchar) as {name}" for name in CONSENT_COLUMNS
    )
    connection.read_parquet(str(lake), hive_partitioning=False).project(columns).create_view(
        "day_leads", replace=True
    )
    matches = settings.day_folder(settings.matches, day) / "matches.parquet"
    connection.read_parquet(str(matches), hive_partitioning=False).create_view(
        "day_matches", replace=True
    )


def load_consent_versions(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[ConsentVersion, ...]:
    """Return the consents of the day's leads by version and text, most leads first."""
    create_day_views(settings, day, connection)
    connection.register("consent_texts", _consent_texts())
    parameters = {
        "zone": settings.time_zone,
        "every_institution": policy.consent(day).every_institution,
    }
    rows = query_table(connection, SQL / "consent_by_version.sql", parameters).to_pylist()
    return tuple(ConsentVersion(version=row.pop("consent_version"), **row) for row in rows)


def load_institution_consents(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[InstitutionConsent, ...]:
    """Return the consents of the matches, the institutions that are named least first."""
    create_day_views(settings, day, connection)
    query = SQL / "consent_by_institution.sql"
    rows = query_table(connection, query, {"zone": settings.time_zone}).to_pylist()
    return tuple(InstitutionConsent(**row) for row in rows)


def load_notices(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[NoticeRecord, ...]:
    """Return the withdrawal notices of the last days by institution, overdue ones first."""
    days = [day - timedelta(days=back) for back in range(NOTICE_DAYS)]
    folders = [settings.day_folder(settings.settlement, one) for one in days]
    for name, stem, schema in (("noticed", "notices", NOTICES), ("answered", "receipts", JUDGED)):
        files = [str(path) for one in folders if (path := one / f"{stem}.parquet").is_file()]
        if files:
            connection.read_parquet(files, hive_partitioning=True).create_view(name, replace=True)
        else:
            empty = schema.append(pa.field("date", pa.date32())).empty_table()
            connection.register(name, empty)
    parameters = {"zone": settings.time_zone, "day": day}
    rows = query_table(connection, SQL / "withdrawal_notices.sql", parameters).to_pylist()
    return tuple(NoticeRecord(**row) for row in rows)


def load_order_sources(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[OrderSource, ...]:
    """Return the sources of orders known by the end of `day`, with the leads that they meet."""
    limits = policy.verdict_rules()["suppressions_never_match"].limits
    files = list_lead_files(settings, day, int(limits["max_days"]))
    if not files:
        return ()
    create_known_view(connection, settings, "suppressions", day)
    create_files_view(connection, "sent_leads", files, load("leads").lake_schema)
    rows: list[dict[str, Any]] = query_table(connection, SQL / "orders_by_source.sql").to_pylist()
    return tuple(OrderSource(**row | {"reasons": tuple(row["reasons"])}) for row in rows)


def _consent_texts() -> pa.Table:
    texts = policy.consent_texts().texts
    return pa.table(
        {
            "version": pa.array([text.version for text in texts], pa.string()),
            "sha256": pa.array([text.sha256 for text in texts], pa.string()),
            "valid_from": pa.array([text.valid_from for text in texts], pa.date32()),
            "valid_to": pa.array([text.valid_to or FAR for text in texts], pa.date32()),
        }
    )
