"""A small home with persons in every kind of file, for tests of erasure and retention."""

import csv
import gzip
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.billing.follow_up import follow_up
from pipelines.core.publishing import publishing, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from tests.helpers.delivered_home import FIRST, match, write_delivered_day
from tests.helpers.identifier_key import keyed
from tests.helpers.lake import Row

BANKS = {"bank-a": "lead", "bank-b": "share"}
NEXT = FIRST + timedelta(days=1)
LEADS = (1, 2, 3)


def id_number(number: int) -> str:
    return f"ID77{number:08d}X"


def phone(number: int) -> str:
    return f"+86138{number:08d}"


def list_values(number: int) -> set[str]:
    """Return every value that names the person, and its lead and match ids."""
    values = {id_number(number), phone(number), phone(number)[3:], f"Canary {number}"}
    values |= {keyed(id_number(number)), keyed(phone(number)), f"device-{number}-canary"}
    return values | {f"lead-000{number}"} | {row["match_id"] for row in list_matches(number)}


def list_matches(number: int) -> list[Row]:
    return [
        match(number, bank, product, lead_id=f"lead-000{number}") for bank, product in BANKS.items()
    ]


def lead(number: int, **changes: Any) -> Row:
    return {
        "channel_id": "search",
        "lead_id": f"lead-000{number}",
        "full_name": f"Canary {number}",
        "device_id": f"device-{number}-canary",
        "id_number": id_number(number),
        "id_number_sha256": keyed(id_number(number)),
        "phone": phone(number),
        "phone_sha256": keyed(phone(number)),
        "file": "leads.csv.gz",
    } | changes


def write_home(home: Path, *, transport: str = "folder", **changes: Any) -> Settings:
    """Write a home after the deliveries of one date to two banks, and follow it up."""
    settings = Settings(home=home, threads=1)
    rows = [lead(number, **changes) for number in LEADS]
    matches = [row for number in LEADS for row in list_matches(number)]
    write_delivered_day(settings, FIRST, matches, leads=rows, transport=transport)
    write_landed(settings, rows)
    write_tables(settings)
    write_json(settings.ledger / "closed.json", {"closed_through": f"{FIRST}"})
    follow_up(settings, FIRST)
    return settings


def write_landed(settings: Settings, rows: list[Row]) -> None:
    """Land the leads as the channel sent them, with a column that no contract knows."""
    text = io.StringIO()
    names = ["lead_id", "full_name", "device_id", "id_number", "phone", "remark", *REQUIRED]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({"remark": f"call {row['full_name']}"} | row | REQUIRED for row in rows)
    folder = settings.landing / "leads" / "search" / f"{FIRST}"
    folder.mkdir(parents=True)
    (folder / "leads.csv.gz").write_bytes(gzip.compress(text.getvalue().encode()))
    outcomes = [
        {"match_id": row["match_id"], "event": "approved", "reason": f"{row['lead_id']} agreed"}
        for number in LEADS
        for row in list_matches(number)[:1]
    ]
    folder = settings.landing / "outcomes" / "bank-a" / f"{NEXT}"
    folder.mkdir(parents=True)
    (folder / "outcomes.jsonl").write_text("\n".join(map(json.dumps, outcomes)), "utf-8")


REQUIRED = {
    "captured_at": "2026-03-02T09:00:00+08:00",
    "segment": "consumer",
    "amount": "20000",
    "currency": "CNY",
    "consent_scope": "all",
    "consent_at": "2026-03-02T08:59:00+08:00",
    "consent_version": "1",
}


def write_tables(settings: Settings) -> None:
    """Write tables and texts that name the persons, in places known and unknown."""
    keys = [{"channel_id": "search", "lead_id": f"lead-000{number}"} for number in LEADS]
    for root in (settings.pairs, settings.offers):
        with publishing(settings.day_folder(root, FIRST), {"counts": {"leads": len(LEADS)}}) as new:
            write_parquet(pa.Table.from_pylist(keys), new / f"{root.name}.parquet")
    quarantined = [
        {
            "source": "search",
            "file": f"leads/search/{FIRST}/leads.csv.gz",
            "line": number + 1,
            "rule": "type",
            "severity": "warning",
            "rows": 0,
            "message": f"{phone(number)} is no number",
            "received": f"lead-000{number},Canary {number},{id_number(number)}",
        }
        for number in LEADS
    ]
    folder = settings.day_folder(settings.quarantine / "leads", FIRST)
    with publishing(folder, {"counts": {}}) as fresh:
        table = pa.Table.from_pylist(quarantined, QUARANTINE)
        write_parquet(table, fresh / "quarantine.parquet")
    write_parquet(pa.Table.from_pylist(keys), settings.home / "later" / "rows.parquet")
    settings.logs.mkdir()
    lines = [f"{phone(number)} and {id_number(number)}\n" for number in LEADS]
    (settings.logs / "debug.log").write_text("".join(lines), "utf-8")
    settings.warehouse.write_bytes("".join(lines).encode())
