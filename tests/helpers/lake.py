"""Lakes for tests, written by the contracts; a test gives only the columns that matter to it."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from expectations.contracts import feeds, load
from pipelines.core.database import DELIVERED
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.transform.warehouse import MATCHES
from tests.helpers.mart_schemas import SCHEMAS

Row = dict[str, Any]

DEFAULTS: dict[str, Row] = {
    "leads": {
        "segment": "consumer",
        "amount": 20_000.0,
        "currency": "CNY",
        "term_months": 12,
        "consent_scope": ["all"],
        "consent_version": "1",
    },
    "products": {
        "name": "A loan",
        "segment": "consumer",
        "currency": "CNY",
        "amount_min": 1_000.0,
        "amount_max": 100_000.0,
        "term_min_months": 3,
        "term_max_months": 36,
        "apr_min": 0.06,
        "apr_max": 0.18,
        "price_model": "cpl",
        "price": 20.0,
        "daily_quota": 10,
        "status": "active",
        "valid_from": date(2026, 1, 1),
    },
    "institutions": {
        "platform_id": "platform",
        "name": "A bank",
        "kind": "bank",
        "admitted_from": date(2026, 1, 1),
        "delivery": "folder",
        "format": "csv",
        "fields": ["phone"],
    },
    "product_fees": {"basis": "share_of_balance", "when": "each_period", "is_contingent": False},
    "product_rules": {},
    "channel_spend": {"currency": "CNY"},
    "outcomes": {"history_kind": "simulate", "file_line": 2},
    "receipts": {"version": 1, "status": "ack"},
    "supply_links": {"platform_id": "platform", "currency": "CNY"},
    "suppressions": {"platform_id": "platform", "reason": "do_not_contact"},
}


def at(text: str) -> datetime:
    """Return the time of a text in Shanghai's time zone, such as `2026-03-01 09:30`."""
    return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)


def sha(text: str) -> str:
    """Return the SHA-256 of `text`, as in the lake's columns of ids and phones."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_feed(settings: Settings, feed: str, day: date, rows: Iterable[Row] = ()) -> None:
    """Publish `lake/feed/date=day` with `rows`, completed by defaults and derived columns."""
    contract = load(feed)
    complete = [_complete(settings, feed, day, row) for row in rows]
    table = pa.Table.from_pylist(complete, schema=contract.lake_schema)
    with publishing(settings.day_folder(settings.lake / feed, day), {"counts": {}}) as folder:
        write_parquet(table, folder / f"{feed}.parquet")


def write_day(settings: Settings, day: date, **rows: Iterable[Row]) -> None:
    """Publish every feed's partition of `day`; it is empty without rows."""
    for feed in feeds():
        write_feed(settings, feed, day, rows.get(feed, ()))


def write_matches(
    settings: Settings, day: date, rows: Iterable[Row], *, is_delivered: bool = True
) -> None:
    """Publish `matches/date=day` with the columns that dbt reads, and record their delivery."""
    table = pa.Table.from_pylist(list(rows), MATCHES)
    with publishing(settings.day_folder(settings.matches, day), {}) as folder:
        write_parquet(table, folder / "matches.parquet")
    if is_delivered:
        delivered = settings.day_folder(settings.delivered, day) / "delivered.parquet"
        write_parquet(table.select(DELIVERED.names), delivered)


def write_counted_outcomes(settings: Settings, day: date, rows: Iterable[Row]) -> None:
    """Publish the mart `outcomes` of `day`, as the build judges it; other marts stay."""
    complete = [
        {"event_at": row["recorded_at"], "known_at": row["recorded_at"]} | row for row in rows
    ]
    schema = SCHEMAS["outcomes"]
    known = [{name: row[name] for name in schema.names if name in row} for row in complete]
    folder = settings.day_folder(settings.marts, day)
    others = {file.name: file.read_bytes() for file in folder.glob("[!m]*.*")}
    with publishing(folder, {}) as fresh:
        for name, content in others.items():
            (fresh / name).write_bytes(content)
        write_parquet(pa.Table.from_pylist(known, schema), fresh / "outcomes.parquet")


def _complete(settings: Settings, feed: str, day: date, given: Row) -> Row:
    contract = load(feed)
    row = {"file": "test.csv", "landed_on": day, "is_late": False} | DEFAULTS[feed] | given
    if feed == "leads":
        row = _complete_lead(settings, day, row)
    if feed == "outcomes":
        row = {"event_at": row["recorded_at"]} | row
    if feed == "supply_links":
        row |= {"buyer_sha256": sha(row["buyer_id"]), "seller_sha256": sha(row["seller_id"])}
    start = settings.day_start(day)
    known_at = max(row[contract.recorded_at], start) if contract.recorded_at else start
    unknown = row.keys() - set(contract.lake_schema.names)
    assert not unknown, f"{feed} has no column {sorted(unknown)}"
    return {"known_at": known_at} | row


def _complete_lead(settings: Settings, day: date, row: Row) -> Row:
    """Add capture at noon and the hashes of ids as ingest derives them (all ids count as valid)."""
    captured_at = row.get("captured_at", settings.day_start(day) + timedelta(hours=12))
    given = [name for name in ("id_number", "phone", "owner_id_number") if row.get(name)]
    hashes = {f"{name}_sha256": sha(row[name]) for name in given}
    valid = {f"is_{name.removesuffix('_number')}_valid": True for name in given}
    person = row.get("id_number") or row.get("phone") or f"{row['channel_id']}/{row['lead_id']}"
    derived = {"captured_at": captured_at, "consent_at": captured_at, "person_key": sha(person)}
    return derived | hashes | valid | row
