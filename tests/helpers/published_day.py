"""A small published day, written through the real `publishing`: the input of a report.

Counts are chosen so that all figures of the page differ from each other.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.contracts import feeds, load
from pipelines.core.data_provenance import record_provenance
from pipelines.core.publishing import (
    hash_inputs,
    hash_mart_inputs,
    publishing,
    read_manifest,
    write_parquet,
)
from pipelines.core.settings import Settings
from pipelines.ingest.quarantine import SCHEMA as QUARANTINE
from pipelines.matches.match_day import SCHEMA as MATCHES
from tests.helpers.marts import write_marts

DAY = date(2026, 11, 20)
AS_OF = date(2026, 11, 16)

PERSON = {
    "id_number": "11010519491231002X",
    "phone": "+8613912345678",
    "full_name": "Ouyang Xiaofei",
    "business_name": "Ouyang Noodles",
    "birth_date": "1949-12-31",
}
"""Personal data of the quarantined row; none of it may be in the report."""

LEADS = {
    "search": {"received": 210, "loaded": 190, "quarantined": 13, "duplicates": 7},
    "broker": {"received": 41, "loaded": 0, "quarantined": 41, "duplicates": 0},
}
LEAD_COUNTS = {
    "received": 251,
    "quarantined": 54,
    "duplicates": 19,
    "suppressed": 3,
    "matched": 120,
    "unmatched": 55,
}
MARTS = {
    "leads": 190,
    "leads_to_match": 171,
    "leads_excluded": {"duplicate": 12, "identity": 7},
    "outcomes": 4001,
    "outcomes_unlinked": {"unknown_match": 17},
}
QUALITY = [
    {
        "rule": "range",
        "expectation": "expect_column_values_to_be_between",
        "column": "amount",
        "severity": "critical",
        "evaluated": 209,
        "unexpected": 12,
    },
    {
        "rule": "required",
        "expectation": "expect_column_values_to_not_be_null",
        "column": "lead_id",
        "severity": "critical",
        "evaluated": 210,
        "unexpected": 0,
    },
]
REFUSAL = "the file ends in the middle of its gzip stream; ask the channel to send it again"
RISK_PRIOR = "96 rows to fit on; `min_rows` in models/params.yml is 500"
FIGURES = {
    "auc": 0.7812,
    "auc_low": 0.7703,
    "auc_high": 0.7924,
    "ks": 0.4417,
    "brier": 0.1813,
    "ece": 0.0122,
    "base_rate": 0.4106,
    "rows": 5120,
}


def publish_day(home: Path) -> Settings:
    """Publish every step of `DAY` below `home` and return its settings."""
    settings = Settings(home=home)
    for feed in feeds():
        publish_lake(settings, feed)
    publish_marts(settings)
    publish_quarantine(settings)
    publish_ledger(settings)
    publish_models(settings)
    publish_pairs(settings)
    publish_matches(settings)
    publish_deliveries(settings, {"bank-000": 199, "bank-001": 1})
    record_provenance(
        settings,
        "hmda",
        {
            "kind": "import",
            "description": "US home-loan applications of 2024.",
            "invented": {"leads": {"captured_at": "a day of the year, from the row's hash"}},
        },
    )
    return settings


def publish_lake(settings: Settings, feed: str, counts: dict[str, Any] | None = None) -> None:
    facts: dict[str, Any] = {"counts": {}, "ledger": [], "quality": [], "unknown_columns": {}}
    if feed == "leads":
        more = {"emptied_values": 5, "rejected_files": 0, "files": 2}
        refused = {"emptied_values": 0, "rejected_files": 1, "files": 1}
        facts["counts"] = counts or {
            "search": LEADS["search"] | more,
            "broker": LEADS["broker"] | refused,
        }
        facts["quality"] = QUALITY
        facts["unknown_columns"] = {"search": ["utm_medium"]}
    with publishing(settings.day_folder(settings.lake / feed, DAY), facts) as folder:
        write_parquet(load(feed).lake_schema.empty_table(), folder / f"{feed}.parquet")


def publish_marts(settings: Settings, seed: int = 7, without: str = "") -> None:
    folder = settings.day_folder(settings.marts, DAY)
    write_marts(settings.home, DAY, seed=seed)
    tables = {path.name: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}
    leads = tables["leads.parquet"]
    tables["leads.parquet"] = leads.filter(pc.not_equal(leads["channel_id"], without))
    facts = {"inputs": hash_mart_inputs(settings, DAY), "counts": MARTS}
    with publishing(folder, facts) as fresh:
        for name, table in tables.items():
            write_parquet(table, fresh / name)


def publish_quarantine(settings: Settings) -> None:
    file = f"leads/search/{DAY}/leads.csv"
    amount = {
        "source": "search",
        "file": file,
        "column": "amount",
        "rule": "range",
        "severity": "critical",
        "rows": 1,
        "message": "amount must be at least 0.01",
        "received": json.dumps(PERSON),
    }
    again = amount | {
        "column": "lead_id",
        "rule": "duplicate",
        "severity": "info",
        "message": "lead_id was received before",
    }
    refused = amount | {
        "source": "broker",
        "file": f"leads/broker/{DAY}/leads.csv.gz",
        "line": None,
        "column": None,
        "rule": "truncated",
        "rows": 41,
        "message": REFUSAL,
        "received": None,
    }
    records = [amount | {"line": 40 + n} for n in range(13)]
    records += [again | {"line": 100 + n} for n in range(7)]
    for feed in feeds():
        rows = [*records, refused] if feed == "leads" else []
        folder = settings.day_folder(settings.quarantine / feed, DAY)
        with publishing(folder, {}) as fresh:
            table = pa.Table.from_pylist(rows, QUARANTINE)
            write_parquet(table, fresh / "quarantine.parquet")


def publish_ledger(settings: Settings) -> None:
    entry = {"version": 1, "is_late": False, "state": "taken", "note": ""}
    entries = [
        entry | {"path": f"leads/search/{DAY}/leads.csv"},
        entry | {"path": "outcomes/bank-000/2026-11-18/outcomes.csv", "is_late": True},
        entry
        | {
            "path": f"leads/search/{DAY}/again.csv",
            "state": "copy",
            "note": f"same content as leads/search/{DAY}/leads.csv",
        },
        entry | {"path": f"spam/{DAY}/x.csv", "state": "rejected", "note": "no feed is named spam"},
    ]
    settings.ledger.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(line)}\n" for line in entries)
    (settings.ledger / f"date={DAY}.jsonl").write_text(lines, "utf-8")


def publish_models(settings: Settings, changed: str = "") -> None:
    models = {
        "approval": {"source": "model", "rows": 22811, "figures": FIGURES},
        "risk": {"source": "prior", "rows": 96, "reason": RISK_PRIOR},
    }
    with publishing(settings.registry / f"as_of={AS_OF}", {"models": models}) as folder:
        (folder / "params.yml").write_text(f"{{}}\n{changed}", "utf-8")


def publish_pairs(settings: Settings) -> None:
    registered = read_manifest(settings.registry / f"as_of={AS_OF}")
    facts = {
        "models": f"{AS_OF}:{registered['content_sha256'][:12]}",
        "open_products": 11,
        "inputs": hash_inputs(settings.day_folder(settings.marts, DAY), home=settings.home),
    }
    funnel = {
        "channel_id": ["search"] * 2,
        "lead_id": ["a", "b"],
        "open": [11, 11],
        "amount": [9, 4],
        "low_value": [6, 2],
    }
    closed = {"institution_id": ["bank-005"], "product_id": ["p-011"], "reason": ["paused"]}
    with publishing(settings.day_folder(settings.pairs, DAY), facts) as folder:
        write_parquet(pa.table(funnel), folder / "funnel.parquet")
        write_parquet(pa.table(closed), folder / "closed_products.parquet")


def publish_matches(settings: Settings, counts: dict[str, int] | None = None) -> None:
    read = hash_inputs(
        *(settings.day_folder(root, DAY) for root in (settings.marts, settings.pairs)),
        home=settings.home,
    )
    facts = (counts or LEAD_COUNTS) | {
        "matches": 200,
        "institutions": 2,
        "gap": 0.0,
        "explored": 3,
        "exploration_cost": 41.75,
        "person_benefit": 800.0,
        "institution_margin": 19_250.0,
        "fees": 9_000.0,
        "cost_of_leads": 10_000.0,
        "least_fees": 10_000.0,
        "fees_short": 950.0,
        "price_of_fees": 0.25,
        "leads_with_a_choice": 60,
        "steered_by_fee": 42,
        "cost_of_steering": 31.5,
        "policy_version": "5ad28ef3f2fc",
        "inputs": read,
    }
    match = {
        "channel_id": "channel-0",
        "product_id": "p-000",
        "pd": 0.0314,
        "p_approve": 0.4271,
        "expected_value": 100.25,
        "expected_cost": 12.5,
    }
    matches = [
        match
        | {"lead_id": f"lead-{n % 120}", "institution_id": f"bank-00{int(n == 0)}"}
        | {"explored": n in (5, 6, 7), "propensity": 0.05 if n in (5, 6, 7) else 1.0}
        for n in range(200)
    ]
    stages = [("quota", "quota_full")] * 50 + [("no_product", "amount")] * 5
    unmatched = [{"stage": stage, "detail": detail} for stage, detail in stages]
    tables = {
        "matches": pa.Table.from_pylist(matches, MATCHES),
        "offers": pa.table({"lead_id": pa.array([], pa.string())}),
        "unmatched": pa.Table.from_pylist(unmatched),
        "reasons": pa.table({"match_id": pa.array([], pa.string())}),
    }
    for name, table in tables.items():
        with publishing(settings.day_folder(settings.home / name, DAY), facts) as folder:
            write_parquet(table, folder / f"{name}.parquet")


def publish_deliveries(settings: Settings, rows: dict[str, int]) -> None:
    for name, number in rows.items():
        facts = {
            "institution_id": name,
            "rows": number,
            "version": 1,
            "deliveries": [],
            "withheld_fields": [],
        }
        with publishing(settings.day_folder(settings.outbox, DAY) / name, facts) as folder:
            (folder / "leads.csv").write_text("match_id\n", "utf-8")
