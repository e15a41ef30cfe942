"""Sign-off of a day: hold its lead files until somebody decides, and record what was decided.

A decision changes no published file: `reports/date=D/` stays as the officer read it. The page of
all days and `banyan status` show each decision at once, and the page of the day does so when it is
written again for another reason.
"""

from datetime import UTC, date, datetime
from typing import Any

from expectations import policy
from pipelines.core.errors import InputMissing, UsageError
from pipelines.core.evidence import Decision
from pipelines.core.evidence.publication_log import log_sign_offs
from pipelines.core.evidence.sign_offs import (
    SignOff,
    append_sign_off,
    find_decision,
    find_hold,
    hash_matches,
)
from pipelines.core.formats import MAX_NAME, clean_note
from pipelines.core.home.schema_version import read_replay
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.reports.overview.day_index import write_day_index
from pipelines.reports.publish_report import report


def hold_deliveries(settings: Settings, day: date) -> dict[str, Any]:
    """Return whether the lead files of `day` wait for a decision, and write the page to read.

    Returns:
        `hold` (the policy), `state` (`open`: deliver; `waits`; `refused`) and `message`.

    Raises:
        InputMissing: The matches of the day are not published.
    """
    mode = policy.sign_off().hold
    if mode == "off" or read_replay(settings):
        return {"hold": mode, "state": "open", "message": ""}
    read_manifest(settings.day_folder(settings.matches, day))
    if find_decision(settings, day) is None:
        report(settings, day)
    hold = find_hold(settings, day)
    if hold is None:
        return {"hold": mode, "state": "open", "message": ""}
    state = "refused" if hold.is_refused else "waits"
    return {"hold": mode, "state": state, "message": hold.message}


def record_sign_off(
    settings: Settings, day: date, *, by: str, decision: Decision, note: str = "", via: str
) -> SignOff:
    """Append a decision on `day` to the ledger, and write the page of all days again.

    Raises:
        UsageError: The name is empty or too long, or name or note hold what looks like an identity
            number, a phone or an e-mail address.
        InputMissing: The day has no report that could have been read.
        IntegrityError: The ledger, or the report's manifest, is damaged.
    """
    by, note = clean_note("name", by, MAX_NAME), clean_note("note", note)
    if not by:
        raise UsageError("A decision needs a name (--by). Nothing was recorded.")
    try:
        page = read_manifest(settings.day_folder(settings.reports, day))
    except InputMissing:
        raise InputMissing(
            f"{day} has no report in {settings.day_folder(settings.reports, day)}, so nobody can "
            f"have read it. Nothing was recorded. Run the date first: `banyan run --date {day}`."
        ) from None
    entry = SignOff(
        date=f"{day}",
        decision=decision,
        by=by,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=str(page.get("verdict", "")),
        report=page["content_sha256"],
        matches=hash_matches(settings, day),
        note=note,
        via=via,
    )
    append_sign_off(settings, entry)
    log_sign_offs(settings, day)
    write_day_index(settings, day)
    return entry
