"""Losses on the way: deliveries that have not arrived at their institution."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date

import duckdb

from pipelines.core.formats import without_personal
from pipelines.core.settings import Settings
from pipelines.core.translation import join, plural, text
from pipelines.deliveries.going_live import GOING_LIVE
from pipelines.reports.sections.matching import load_deliveries
from pipelines.reports.verdict import Finding, make_finding, name_places
from pipelines.transport.endpoints import HOST_KEY_CHANGED
from pipelines.transport.records import TransportRecord, read_records

MAX_MESSAGES = 8
"""Messages that the evidence of one finding lists."""


def find_files_not_transported(
    settings: Settings, day: date, _connection: duckdb.DuckDBPyConnection
) -> Iterator[Finding]:
    """Yield the deliveries that have not arrived, by the reason."""
    records = read_records(settings, day)
    by_rule: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, record in records.items():
        if rule := _find_rule(record):
            by_rule[rule][name] = join([name, record.message], ": ")
    for row in load_deliveries(settings, day):
        if row.is_transported and row.rows > 0 and row.institution_id not in records:
            by_rule["delivery_not_transported"][row.institution_id] = text(
                "{institution}: {leads} by {transport}",
                institution=row.institution_id,
                leads=plural(row.rows, "lead"),
                transport=row.delivery,
            )
    for rule, messages in sorted(by_rule.items()):
        yield make_finding(
            rule,
            join(map(without_personal, messages.values()), limit=MAX_MESSAGES),
            amount=len(messages),
            where=name_places(messages),
        )


def _find_rule(record: TransportRecord) -> str | None:
    """Return the rule of the verdict on a record; None: the delivery has arrived."""
    if record.state == "sent":
        return None
    if record.state == "dead_letter":
        is_changed = record.reason == HOST_KEY_CHANGED
        return "delivery_host_key_changed" if is_changed else "delivery_dead_letter"
    if record.is_overdue:
        return "delivery_overdue"
    return "delivery_not_live" if record.reason == GOING_LIVE else "delivery_waiting"
