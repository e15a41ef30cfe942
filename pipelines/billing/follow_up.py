"""The step `follow_up`: after a day's deliveries, take in the answers and send what is due back.

It records the ledger, judges receipts, sends withdrawal notices and the decisions on returns, gives
each channel its feedback, and closes the month after its last date. Everything that another day
reads is in `settlement/date=D/`, published once the files that go out are.
"""

from collections import defaultdict
from datetime import date, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations import policy
from pipelines.billing.billing_tables import (
    load_decisions,
    load_success_dates,
    load_used,
    open_billing,
)
from pipelines.billing.channel_feedback import publish_feedback
from pipelines.billing.returns import decide_returns, find_return_problems
from pipelines.billing.statement import close_months
from pipelines.core.home.schema_version import read_replay
from pipelines.core.publishing import (
    MANIFEST,
    hash_inputs,
    publishing,
    read_manifest,
    write_parquet,
)
from pipelines.core.settings import Settings
from pipelines.deliveries.attachments import (
    add_version,
    load_transports,
    publish_attachments,
    read_attachments,
)
from pipelines.deliveries.ledger import receipts as receipt_feed
from pipelines.deliveries.ledger.delivery_versions import (
    NOTICE,
    list_institutions,
    name_delivery,
)
from pipelines.deliveries.ledger.events import ledger_folder
from pipelines.deliveries.ledger.open_deliveries import find_open
from pipelines.deliveries.ledger.receipts import (
    Receipt,
    answer_receipts,
    judge_receipts,
    list_refused_dates,
)
from pipelines.deliveries.ledger.record import (
    ANSWERS,
    record_answers,
    record_expired,
    record_plan,
    record_returns,
)
from pipelines.deliveries.signatures import sign_manifests
from pipelines.deliveries.withdrawal_notices import NOTICES, find_notices

Facts = dict[str, Any]


def follow_up(settings: Settings, day: date) -> Facts:
    """Follow `day` up; return the counts.

    Raises:
        IntegrityError: A delivered match has no price, or a closed statement was changed.
    """
    replayed = read_replay(settings)
    if replayed.get("has_settlement") is False:
        return {"skipped": "the day was published before days were followed up"}
    for root in (settings.matches, settings.marts):
        if not (settings.day_folder(root, day) / MANIFEST).is_file():
            return {"skipped": f"{root.name}/date={day} is not published"}
    notices = find_notices(settings, day, _load_noticed(settings, day))
    attach(settings, day, "notices", notices)
    with open_billing(settings, day) as connection:
        receipts = judge_receipts(settings, day, partial(load_used, connection, day))
        answers = answer_receipts(settings, day, receipts)
        if replayed.get("has_receipt_answers", True):
            attach(settings, day, "receipt_answers", answers)
        decisions = decide_returns(connection, settings, day)
        attach(settings, day, "return_decisions", decisions)
        events, changed = record(settings, day, receipts, decisions)
        every = pa.concat_tables([load_decisions(settings, day, inclusive=False), decisions])
        # a refused lead that is approved now is paid for again
        changed |= list_refused_dates(settings, day) & load_success_dates(connection, day)
        channels = publish_feedback(connection, settings, day, every, changed)
        problems = find_return_problems(connection, every, day)
    sign_manifests(settings, day, list_institutions(settings, day))
    is_open = find_open(settings, day, receipts)
    facts = {
        "inputs": hash_inputs(settings.day_folder(settings.matches, day), home=settings.home),
        "findings": [
            *receipt_feed.find_problems(receipts),
            *is_open.findings,
            *problems,
        ],
        "delivery_counts": is_open.counts,
        "notices": notices.num_rows,
        "return_decisions": decisions.num_rows,
        "receipt_answers": answers.num_rows,
    }
    with publishing(settings.day_folder(settings.settlement, day), facts) as folder:
        write_parquet(receipt_feed.to_table(receipts), folder / "receipts.parquet")
        write_parquet(notices, folder / "notices.parquet")
        write_parquet(decisions, folder / "return_decisions.parquet")
    months = [] if replayed else close_months(settings, day)
    return {
        "receipts": len(receipts),
        "notices": notices.num_rows,
        "return_decisions": decisions.num_rows,
        "ledger_events": events,
        "channels": channels,
        "open_deliveries": is_open.counts["open"],
        "months_closed": len(months),
    }


def attach(settings: Settings, day: date, kind: str, rows: pa.Table) -> None:
    """Publish `rows` as attachments of `kind`, each institution's own beside its lead file.

    An institution that had an attachment of `kind` and has no row any more gets an empty version.
    """
    outbox = settings.day_folder(settings.outbox, day)
    with_rows = rows["institution_id"].unique().to_pylist()
    transports = load_transports(settings, day)
    had = [
        path.parent.name
        for path in outbox.glob("*/manifest.json")
        if not path.parent.name.startswith(".") and read_manifest(path.parent).get(kind)
    ]
    for name in sorted({*with_rows, *had}):
        own = rows.filter(pc.equal(rows["institution_id"], name))
        before = read_attachments(outbox / name)
        facts = {}
        if kind == "notices":
            facts["delivery_id"] = f"{NOTICE}{name_delivery(day, name)}"
        if kind == "notices" and own.num_rows:
            facts["deadline"] = f"{pc.min(own['deadline']).as_py()}"
        after = add_version(before, outbox / name, kind, own, **facts)
        publish_attachments(day, outbox / name, after, transports)


def record(
    settings: Settings, day: date, receipts: list[Receipt], decisions: pa.Table
) -> tuple[int, set[date]]:
    """Record plan, answers, returns and overdue receipts; return new events and the dates."""
    events, changed = record_plan(settings, day), {day}
    for delivered_on in _find_unsent(settings, day):
        events += record_plan(settings, delivered_on)
    answers: defaultdict[date, list[Facts]] = defaultdict(list)
    for receipt in receipts:
        if receipt.decides and not receipt.prefix and receipt.delivered_on:
            answers[receipt.delivered_on].append(_describe_answer(receipt))
    for delivered_on, rows in sorted(answers.items()):
        table = pa.Table.from_pylist(rows, ANSWERS)
        events += record_answers(settings, delivered_on, table)
        changed.add(delivered_on)
    accepted = decisions.filter(pc.equal(decisions["decision"], "accepted"))
    for delivered_on in sorted(set(accepted["delivered_on"].to_pylist())):
        own = accepted.filter(pc.equal(accepted["delivered_on"], delivered_on))
        returned = pa.table(
            {
                "match_id": own["match_id"],
                "institution_id": own["institution_id"],
                "delivery_id": own["delivery_id"],
                "known_on": own["decided_on"],
                "detail": own["reason"],
            }
        )
        events += record_returns(settings, delivered_on, returned)
    return events + record_expired(settings, day), changed


def _describe_answer(receipt: Receipt) -> Facts:
    return {
        "institution_id": receipt.institution_id,
        "version": receipt.version,
        "event": receipt.judgement,
        "known_on": receipt.known_on,
        "at": receipt.at,
        "source": f"receipts/{receipt.institution_id}/{receipt.known_on}",
        "detail": "late" if receipt.is_late else None,
    }


def _find_unsent(settings: Settings, day: date) -> list[date]:
    """Return the dates before `day` of which a transport record may have changed since."""
    first = day - timedelta(days=policy.deliveries().receipt_days + 7)
    dates = (first + timedelta(days=number) for number in range((day - first).days))
    return [
        each
        for each in dates
        if ledger_folder(settings, each).is_dir()
        and (settings.home / "transport" / f"date={each}").is_dir()
    ]


def _load_noticed(settings: Settings, day: date) -> pa.Table:
    """Return match and kind of the notices of earlier days."""
    files = [
        folder / "notices.parquet"
        for folder in sorted(settings.settlement.glob("date=*"))
        if folder.name < f"date={day}"
    ]
    names = ["match_id", "kind"]
    tables = [pq.read_table(file, columns=names, partitioning=None) for file in files]
    return pa.concat_tables([NOTICES.empty_table().select(names), *tables])
