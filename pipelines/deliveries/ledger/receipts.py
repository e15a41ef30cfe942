"""Judge receipts: an institution acknowledges or refuses its own deliveries, by their bytes.

Each receipt is answered: the institution learns whether it counted, and why it did not. A lead file
that was acknowledged on an earlier day, or of which a lead was reported as approved or funded, was
read: it can be refused no more, only its leads can be returned.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import connect, query_table
from pipelines.core.settings import Settings
from pipelines.deliveries.ledger.delivery_versions import (
    DeliveryVersion,
    list_institutions,
    parse_delivery_id,
    read_versions,
)
from pipelines.deliveries.unread_rows import register_unread

FEED = "receipts"
SQL = Path(__file__).parent.parent / "sql"

Judgement = Literal[
    "received",
    "refused",
    "test",
    "repeated",
    "foreign",
    "unknown_delivery",
    "before_delivery",
    "too_late",
    "wrong_hash",
    "wrong_rows",
    "after_ack",
    "approved_or_funded",
]
"""`received` and `refused` count. `repeated`: another receipt of the same day for the same version
decides. `test`: the transport reads answers to test deliveries. `after_ack` and
`approved_or_funded`: the refusal of a lead file that was read. The others are reported, and change
no state."""

FINDINGS: dict[Judgement, str] = {
    "foreign": "receipts_foreign",
    "unknown_delivery": "receipts_unknown",
    "before_delivery": "receipts_unknown",
    "too_late": "receipts_unknown",
    "wrong_hash": "receipts_wrong_content",
    "wrong_rows": "receipts_wrong_content",
    "refused": "deliveries_refused",
    "after_ack": "refusals_too_late",
    "approved_or_funded": "refusals_too_late",
}
"""Judgement -> rule of the verdict."""

JUDGED = pa.schema(
    [
        *((name, pa.string()) for name in ("institution_id", "delivery_id")),
        ("version", pa.int64()),
        ("status", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("judgement", pa.string()),
        ("is_late", pa.bool_()),
        ("reason", pa.string()),
    ]
)


UsedDeliveries = Set[tuple[str, date]]
"""Institutions and dates of deliveries of which a lead was reported as approved or funded."""

Subject = tuple[str, str, int]
"""Institution, id and version of what a receipt is about."""

ANSWERED = pa.schema(
    [
        *((name, pa.string()) for name in ("institution_id", "file")),
        ("line", pa.int64()),
        ("delivery_id", pa.string()),
        ("version", pa.int64()),
        ("judgement", pa.string()),
    ]
)


@dataclass(frozen=True)
class Receipt:
    """One row of the feed, with its judgement."""

    institution_id: str
    delivery_id: str
    version: int
    sha256: str
    rows: int
    status: str
    reason: str | None
    at: datetime
    known_on: date
    file: str = ""
    """Date of its landing folder, and name of the file that brought it."""
    line: int | None = None
    """Its line in the file; None of a file that was taken in before lines were recorded."""
    judgement: Judgement = "received"
    delivered_on: date | None = None
    prefix: str = ""
    """Of the delivery's id: what the receipt is about, see `LISTED_UNDER`."""
    is_late: bool = False

    @property
    def subject(self) -> Subject:
        """Return what the receipt is about."""
        return self.institution_id, self.delivery_id, self.version

    @property
    def decides(self) -> bool:
        """Return whether the receipt says that the version was received or refused."""
        return self.judgement in {"received", "refused"}


@dataclass(frozen=True)
class EarlierUse:
    """What says that a lead file was read before `day` or on it; found when it is needed."""

    settings: Settings
    day: date
    find_used: Callable[[], UsedDeliveries]
    """Finds what was reported by `day`."""

    @cached_property
    def _used(self) -> UsedDeliveries:
        return self.find_used()

    @cached_property
    def _answered(self) -> dict[Subject, str]:
        return load_answered(self.settings, self.day)

    def judge_refusal(self, receipt: Receipt, version: DeliveryVersion) -> Judgement:
        """Return the judgement of a `nak`; a notice or retraction list can always be refused."""
        if receipt.prefix:
            return "refused"
        if self._answered.get(receipt.subject) == "received":
            return "after_ack"
        is_used = (receipt.institution_id, version.day) in self._used
        return "approved_or_funded" if is_used else "refused"


def judge_receipts(
    settings: Settings, day: date, find_used: Callable[[], UsedDeliveries]
) -> list[Receipt]:
    """Return the receipts that became known on `day`, each with its judgement.

    Args:
        settings: Where lake, outbox and settlements are.
        day: The business date.
        find_used: Finds the deliveries that were used by `day`; called if one is refused.
    """
    earlier = EarlierUse(settings, day, find_used)
    received = sorted(
        _load(settings, day),
        key=lambda row: (row.subject, row.at, row.status, row.sha256, row.file, row.line or 0),
    )
    judged = [_judge(settings, receipt, earlier) for receipt in received]
    return [*_mark_repeated(judged)]


def load_answered(settings: Settings, day: date) -> dict[Subject, str]:
    """Return what the receipts of the days before `day` decided: received or refused."""
    answered: dict[Subject, str] = {}
    for folder in sorted(settings.settlement.glob("date=*")):
        file = folder / "receipts.parquet"
        if folder.name >= f"date={day}" or not file.is_file():
            continue
        for row in pq.read_table(file, columns=JUDGED.names, partitioning=None).to_pylist():
            if row["judgement"] in {"received", "refused"}:
                subject = row["institution_id"], row["delivery_id"], row["version"]
                answered[subject] = row["judgement"]
    return answered


def list_refused_dates(settings: Settings, day: date) -> set[date]:
    """Return the dates of the lead files whose last receipt before `day` is a refusal."""
    refused = [
        parse_delivery_id(delivery)
        for (_, delivery, _), judgement in load_answered(settings, day).items()
        if judgement == "refused"
    ]
    return {parsed[1] for parsed in refused if parsed and not parsed[0]}


def to_table(receipts: Iterable[Receipt]) -> pa.Table:
    """Return judged receipts as a table; no hash and no row count that only the sender knows."""
    return _tabulate(receipts, JUDGED)


def answer_receipts(settings: Settings, day: date, receipts: Iterable[Receipt]) -> pa.Table:
    """Return what each institution is answered to its receipts of `day`.

    The columns are `institution_id` and the ones of the outbound contract `receipt_answer`. A
    receipt of a test delivery has no row: the first real file answers it.

    Args:
        settings: Where the home is.
        day: The business date on which the receipts became known.
        receipts: The receipts of `judge_receipts`.
    """
    with connect(settings) as connection:
        connection.register("judged", _tabulate(receipts, ANSWERED))
        register_unread(connection, settings, day, FEED)
        return query_table(connection, SQL / "receipt_answers.sql")


def find_problems(receipts: Iterable[Receipt]) -> list[dict[str, Any]]:
    """Return a finding for each kind of receipt that changes no state, and for refusals."""
    found: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        if rule := FINDINGS.get(receipt.judgement):
            found[rule].append(receipt)
    return [
        {
            "id": rule,
            "count": len(rows),
            "sources": sorted({row.institution_id for row in rows}),
            "detail": ", ".join(sorted({f"{row.judgement} {_name(row)}" for row in rows})[:3]),
        }
        for rule, rows in sorted(found.items())
    ]


def _tabulate(receipts: Iterable[Receipt], schema: pa.Schema) -> pa.Table:
    rows = [{name: getattr(receipt, name) for name in schema.names} for receipt in receipts]
    return pa.Table.from_pylist(rows, schema)


def _name(receipt: Receipt) -> str:
    """Return the delivery's id where it is one of ours; what else a partner writes stays out."""
    if receipt.judgement in {"unknown_delivery", "foreign"}:
        return f"from {receipt.institution_id}"
    return f"{receipt.delivery_id} version {receipt.version}"


def _load(settings: Settings, day: date) -> Iterator[Receipt]:
    file = settings.day_folder(settings.lake / FEED, day) / f"{FEED}.parquet"
    if not file.is_file():
        return
    names = {load(FEED).source_column, *load(FEED).names, "landed_on", "file", "file_line"}
    known = [name for name in pq.read_schema(file).names if name in names]
    for row in pq.read_table(file, columns=known, partitioning=None).to_pylist():
        fields = {name: row[name] for name in Receipt.__dataclass_fields__ if name in row}
        fields |= {"sha256": row["sha256"].lower(), "known_on": day, "line": row.get("file_line")}
        yield Receipt(**fields | {"file": f"{row['landed_on']}/{row['file']}"})


def _judge(settings: Settings, receipt: Receipt, earlier: EarlierUse) -> Receipt:
    if re.fullmatch(rf"test-{re.escape(receipt.institution_id)}-\d+", receipt.delivery_id):
        return replace(receipt, judgement="test")
    parsed = parse_delivery_id(receipt.delivery_id)
    if parsed is None:
        return replace(receipt, judgement="unknown_delivery")
    prefix, delivered_on, institution = parsed
    if institution != receipt.institution_id:
        is_known = institution in list_institutions(settings, delivered_on)
        return replace(receipt, judgement="foreign" if is_known else "unknown_delivery")
    rules = policy.deliveries()
    receipt = replace(
        receipt,
        delivered_on=delivered_on,
        prefix=prefix,
        is_late=(receipt.known_on - delivered_on).days > rules.receipt_days,
    )
    if delivered_on > receipt.known_on:
        return replace(receipt, judgement="unknown_delivery")
    version = next(
        (
            each
            for each in read_versions(settings, delivered_on, institution, prefix)
            if each.version == receipt.version and each.known_on <= receipt.known_on
        ),
        None,
    )
    judgement = _compare(settings, receipt, version, earlier)
    return replace(receipt, judgement=judgement)


def _compare(
    settings: Settings,
    receipt: Receipt,
    version: DeliveryVersion | None,
    earlier: EarlierUse,
) -> Judgement:
    """Return the judgement of a receipt about a version of the institution's own delivery."""
    if version is None:
        return "unknown_delivery"
    is_acknowledged = receipt.status == "ack"  # a refusal may be about wrong bytes
    if is_acknowledged and receipt.sha256 not in version.hashes:
        return "wrong_hash"
    if is_acknowledged and receipt.rows != version.rows:
        return "wrong_rows"
    if receipt.at < settings.day_start(version.day):
        return "before_delivery"
    if (receipt.known_on - version.day).days > policy.deliveries().late_receipt_days:
        return "too_late"
    return "received" if is_acknowledged else earlier.judge_refusal(receipt, version)


def _mark_repeated(receipts: list[Receipt]) -> Iterator[Receipt]:
    """Yield the receipts; of several that decide about one version the last one, else a refusal."""
    deciding = {
        receipt.subject: receipt
        for receipt in sorted(receipts, key=lambda row: (row.at, row.status))
        if receipt.decides
    }
    for receipt in receipts:
        if receipt.decides and deciding[receipt.subject] is not receipt:
            yield replace(receipt, judgement="repeated")
        else:
            yield receipt
