"""The consent of a lead: which text the person agreed to, when, and for which institutions."""

from typing import Any

import pyarrow.parquet as pq

from expectations import policy
from pipelines.explain.published_day import PublishedDay, Row

COLUMNS = {
    "version": "consent_version",
    "given_at": "consent_at",
    "scope": "consent_scope",
    "withdrawn_at": "consent_withdrawn_at",
    "text_sha256": "consent_text_sha256",
    "purpose": "consent_purpose",
    "evidence": "consent_evidence",
}
"""Key of an explanation -> column of the lake."""


def explain_consent(published: PublishedDay, channel: str, lead: str) -> Row | None:
    """Return the consent of a lead as its channel sent it, with the texts of its version.

    Returns:
        The keys of `COLUMNS` and `texts`: the texts of the register that were shown under the
        version when consent was given, each with `is_shown`, whether the lead brought its hash.
        None if the lake of the day has no such lead.
    """
    settings, day = published.settings, published.day
    path = settings.day_folder(settings.lake / "leads", day) / "leads.parquet"
    if not path.is_file():
        return None
    sent = set(pq.read_schema(path).names)  # a day of an earlier version lacks newer columns
    columns = ", ".join(
        f"{column if column in sent else 'null'} as {name}" for name, column in COLUMNS.items()
    )
    rows = published.query(
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
    consent = rows[0]
    given_on = consent.pop("given_on")
    shown = (consent["text_sha256"] or "").lower()
    texts: list[dict[str, Any]] = [
        text.model_dump(include={"sha256", "jurisdiction", "language", "purpose", "text", "file"})
        | {"is_shown": text.sha256 == shown}
        for text in policy.consent_texts().texts
        if text.version == consent["version"]
        and text.valid_from <= given_on
        and (text.valid_to is None or given_on <= text.valid_to)
    ]
    times = {
        name: consent[name].isoformat() if consent[name] else None
        for name in ("given_at", "withdrawn_at")
    }
    return consent | times | {"texts": texts}
