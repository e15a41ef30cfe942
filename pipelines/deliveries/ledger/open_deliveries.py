"""Open deliveries of a day: lead files, retraction lists and notices without a receipt."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.delivery_versions import (
    NOTICE,
    RETRACTION,
    DeliveryVersion,
    list_institutions,
    list_versions,
    read_versions,
)
from pipelines.deliveries.ledger.receipts import Receipt, Subject, load_answered


@dataclass(frozen=True)
class OpenDeliveries:
    """Counts of the deliveries that are open, and the findings on them."""

    counts: dict[str, int]
    findings: list[dict[str, Any]]


def find_open(settings: Settings, day: date, receipts: list[Receipt]) -> OpenDeliveries:
    """Return what waits for a receipt at the end of `day`.

    A missing receipt is a finding only of an institution that ever acknowledged a delivery. A
    notice must be acknowledged by everybody.

    Args:
        settings: Where outbox and settlements are.
        day: The business date.
        receipts: The judged receipts of `day`; earlier ones are in the settlements.
    """
    answered = load_answered(settings, day)
    answered |= {receipt.subject: receipt.judgement for receipt in receipts if receipt.decides}
    acknowledging = {name for name, delivery, _ in answered if not delivery.startswith(NOTICE)}
    newest = _list_newest(settings, day)
    unanswered = [each for each in newest if _subject(each) not in answered]
    limit = timedelta(days=policy.deliveries().receipt_days)
    expired = [
        each
        for each in unanswered
        if day - each.known_on >= limit and each.institution_id in acknowledging
    ]
    deliveries, waiting = (
        [each for each in versions if not each.delivery_id.startswith(RETRACTION)]
        for versions in (newest, unanswered)
    )
    notices = [each for each in _list_notices(settings, day) if _is_waiting(each, answered)]
    overdue = [each for each in notices if each.deadline and each.deadline < day]
    findings = [
        _describe("receipts_missing", expired),
        _describe("notices_open", [each for each in notices if each not in overdue]),
        _describe("notices_overdue", overdue),
    ]
    counts = {
        "deliveries": len(deliveries),
        "open": len(waiting),
        "expired": sum(day - each.day >= limit for each in waiting),
        "retractions_open": len(unanswered) - len(waiting),
        "notices_open": len(notices),
        "notices_overdue": len(overdue),
    }
    return OpenDeliveries(counts, [finding for finding in findings if finding["count"]])


def _is_waiting(notice: DeliveryVersion, answered: dict[Subject, str]) -> bool:
    """Return whether a notice is not acknowledged; a refusal does not close it."""
    return answered.get(_subject(notice)) != "received"


def _describe(rule: str, versions: list[DeliveryVersion]) -> dict[str, Any]:
    names = [each.delivery_id for each in sorted(versions, key=lambda v: (v.day, v.institution_id))]
    return {
        "id": rule,
        "count": len(versions),
        "sources": sorted({each.institution_id for each in versions}),
        "detail": ", ".join(names[:3]),
    }


def _subject(version: DeliveryVersion) -> Subject:
    return version.institution_id, version.delivery_id, version.version


def _list_newest(settings: Settings, day: date) -> list[DeliveryVersion]:
    """Return the newest version of each recent delivery, as judged by `day` at the latest."""
    back = 2 * policy.deliveries().receipt_days + 7
    days = [day - timedelta(days=number) for number in range(back, -1, -1)]
    newest = {each.delivery_id: each for each in list_versions(settings, days, day)}
    return [each for each in newest.values() if each.rows]


def _list_notices(settings: Settings, day: date) -> list[DeliveryVersion]:
    """Return the newest version of each notice up to `day`."""
    notices = []
    for folder in sorted(settings.settlement.glob("date=*")):
        sent_on = date.fromisoformat(folder.name.removeprefix("date="))
        file = folder / "notices.parquet"
        if sent_on >= day or not file.is_file():
            continue
        notices += _read_newest(settings, sent_on, _institutions(settings, sent_on))
    return [*notices, *_read_newest(settings, day, None)]


def _institutions(settings: Settings, day: date) -> list[str]:
    file = settings.day_folder(settings.settlement, day) / "notices.parquet"
    names = pq.read_table(file, columns=["institution_id"], partitioning=None)["institution_id"]
    return sorted(set(names.to_pylist()))


def _read_newest(
    settings: Settings, day: date, institutions: list[str] | None
) -> list[DeliveryVersion]:
    names = list_institutions(settings, day) if institutions is None else institutions
    versions = [read_versions(settings, day, name, NOTICE)[-1:] for name in names]
    return [version for (version,) in filter(None, versions) if version.rows]
