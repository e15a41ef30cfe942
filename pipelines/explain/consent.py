"""The consent of a lead: which text the person agreed to, when, and for which institutions.

The dossier of a match also says who received the lead, when, and what the person asked for since.
It reads what was recorded and no policy of the matching, so it needs no day that can be explained.
"""

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.events import register_ledger
from pipelines.explain.published_day import Row

COLUMNS = {
    "version": "consent_version",
    "given_at": "consent_at",
    "scope": "consent_scope",
    "withdrawn_at": "consent_withdrawn_at",
    "text_sha256": "consent_text_sha256",
    "purpose": "consent_purpose",
    "evidence": "consent_evidence",
    "by_role": "consent_by_role",
}
"""Key of an explanation -> column of the lake."""
TEXT_FACTS = {"sha256", "jurisdiction", "language", "purpose", "text", "file", "source"}


def explain_consent(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, channel: str, lead: str
) -> Row | None:
    """Return the consent of a lead as its channel sent it, with the texts of its version.

    Returns:
        The keys of `COLUMNS` and `texts`: the texts of the register that were shown under the
        version when consent was given, each with the dates `shown_from` and `shown_to`, and
        `is_shown`, whether the lead brought its hash. None if the lake of the day has no such lead.
    """
    path = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    if not path.is_file():
        return None
    sent = set(pq.read_schema(path).names)  # a day of an earlier version lacks newer columns
    columns = ", ".join(
        f"{column if column in sent else 'null'} as {name}" for name, column in COLUMNS.items()
    )
    rows = _query(
        connection,
        f"select {columns}, cast(timezone($zone, consent_at) as date) as given_on "
        "from read_parquet($path, hive_partitioning = false) "
        "where channel_id = $channel and lead_id = $lead",
        path=str(path),
        zone=settings.time_zone,
        channel=channel,
        lead=lead,
    )
    if not rows:
        return None
    consent = _with_text_times(rows[0])
    given_on = consent.pop("given_on")
    shown = (consent["text_sha256"] or "").lower()
    texts: list[dict[str, Any]] = [
        text.model_dump(include=TEXT_FACTS)
        | {
            "shown_from": f"{text.valid_from}",
            "shown_to": f"{text.valid_to}" if text.valid_to else None,
            "is_shown": text.sha256 == shown,
        }
        for text in policy.consent_texts().texts
        if given_on is not None
        and text.version == consent["version"]
        and f"{text.valid_from}" <= given_on
        and (text.valid_to is None or given_on <= f"{text.valid_to}")
    ]
    return consent | {"texts": texts}


def explain_match(settings: Settings, day: date, match_id: str) -> Row:
    """Return the consent dossier of a match: what was agreed, who received it, what came since.

    Returns:
        The keys of the match, `delivery_id`, `state` and `history` of the ledger, `consent` (see
        `explain_consent`) with `covers_institution`, `later` (each later file of the channel that
        withdraws the consent of the lead), and `notices` to the institution. Times are ISO 8601.

    Raises:
        InputMissing: The day has no such match.
    """
    with connect(settings) as connection:
        match = _find_match(connection, settings, day, match_id)
        channel, lead = match["channel_id"], match["lead_id"]
        consent = explain_consent(connection, settings, day, channel, lead)
        if consent is not None:
            scope = {match["institution_id"], policy.consent(day).every_institution}
            consent["covers_institution"] = not scope.isdisjoint(consent["scope"] or ())
        register_ledger(connection, settings, day)
        of_match = {"match": match_id}
        states = _query(
            connection, "select delivery_id, state from states where match_id = $match", **of_match
        )
        history = _query(
            connection,
            'select event, version, known_on, "at", detail from events where match_id = $match '
            "order by batch, version, event",
            **of_match,
        )
        return {
            "date": f"{day}",
            **match,
            **(states[0] if states else {"delivery_id": None, "state": None}),
            "consent": consent,
            "later": _find_later_withdrawals(connection, settings, day, channel, lead),
            "notices": _find_notices(connection, settings, day, match_id),
            "history": [*map(_with_text_times, history)],
        }


def _find_match(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, match_id: str
) -> Row:
    """Return the keys of a match that is planned, or was delivered and is planned no more."""
    files = [settings.day_folder(settings.matches, day) / "matches.parquet"]
    files += sorted(settings.day_folder(settings.delivered, day).glob("*.parquet"))
    for file in filter(Path.is_file, files):
        rows = _query(
            connection,
            "select match_id, channel_id, lead_id, institution_id, product_id "
            "from read_parquet($file, hive_partitioning = false) where match_id = $match",
            file=str(file),
            match=match_id,
        )
        if rows:
            return rows[0]
    raise InputMissing(
        f"{day} has no match {match_id}: it is neither in matches/ nor in delivered/ of the date. "
        "Nothing was explained. The id of its delivery begins with the date."
    )


def _find_later_withdrawals(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, channel: str, lead: str
) -> list[Row]:
    files = _list_from(settings.lake / "leads", day, "leads.parquet", is_after=True)
    if not files:
        return []
    rows = _query(
        connection,
        'select "date" as known_on, consent_withdrawn_at as withdrawn_at '
        "from read_parquet($files, hive_partitioning = true, union_by_name = true) "
        "where channel_id = $channel and lead_id = $lead and consent_withdrawn_at is not null "
        "order by all",
        files=files,
        channel=channel,
        lead=lead,
    )
    return [*map(_with_text_times, rows)]


def _find_notices(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, match_id: str
) -> list[Row]:
    files = _list_from(settings.settlement, day, "notices.parquet", is_after=False)
    if not files:
        return []
    rows = _query(
        connection,
        'select "date" as sent_on, kind, effective_on, deadline '
        "from read_parquet($files, hive_partitioning = true) where match_id = $match order by all",
        files=files,
        match=match_id,
    )
    return [*map(_with_text_times, rows)]


def _list_from(root: Path, day: date, name: str, *, is_after: bool) -> list[str]:
    """Return the files of the partitions from `day` on, or after it."""
    folders = (path for path in sorted(root.glob("date=*")) if path.name >= f"date={day}")
    return [
        str(folder / name)
        for folder in folders
        if (folder / name).is_file() and not (is_after and folder.name == f"date={day}")
    ]


def _query(connection: duckdb.DuckDBPyConnection, sql: str, **parameters: Any) -> list[Row]:
    rows: list[Row] = connection.sql(sql, params=parameters).to_arrow_table().to_pylist()
    return rows


def _with_text_times(row: Row) -> Row:
    """Return a row with its dates and times as text."""
    return {
        name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()
    }
