"""An accepted return gives quota and money back on the next day, and counts against its channel."""

import csv
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.core.publishing import read_manifest
from tests.e2e.market import run

DELIVERED = date(2026, 3, 29)
RETURNED, NEXT = DELIVERED + timedelta(days=1), DELIVERED + timedelta(days=2)
"""The last three dates of a month: what it has left is spread over them."""
LEADS = 10
LIMITS = {
    "by-quota": {"institution": "bank-a", "monthly_quota": "9", "monthly_budget": ""},
    "by-budget": {"institution": "bank-b", "monthly_quota": "", "monthly_budget": "90"},
}
"""Two products of which a month takes nine leads: by number, and by money at 10 a lead."""
MONTH = 9
BACK = 2
"""Leads of each that come back."""


def land(home: Path, feed: str, source: str, day: date, rows: list[dict[str, Any]]) -> None:
    file = home / "landing" / feed / source / f"{day}" / f"{feed}.csv"
    file.parent.mkdir(parents=True)
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def lead(day: date, number: int) -> dict[str, Any]:
    return {
        "lead_id": f"{day:%d}-{number}",
        "captured_at": f"{day}T09:30:00+08:00",
        "segment": "consumer",
        "phone": f"+86138{day:%d}{number:06d}",
        "income_monthly": 12_000,
        "bureau_score": 702,
        "amount": 20_000,
        "currency": "CNY",
        "term_months": 12,
        "consent_scope": "all",
        "consent_at": f"{day}T09:29:00+08:00",
        "consent_version": "v1",
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days through the real steps; leads of the first come back on the second."""
    home = tmp_path_factory.mktemp("returns")
    for name, limit in LIMITS.items():
        institution = limit["institution"]
        terms = {"product_id": name, "name": name, "segment": "consumer", "currency": "CNY"}
        terms |= {"amount_min": 5_000, "amount_max": 50_000, "term_min_months": 3}
        terms |= {"term_max_months": 36, "apr_min": 0.08, "apr_max": 0.2, "price_model": "cpl"}
        terms |= {"price": 10, "daily_quota": 100, "status": "active"}
        terms |= {"valid_from": "2026-01-01"} | limit
        del terms["institution"]
        land(home, "products", institution, DELIVERED, [terms])
    institutions = [
        {"institution_id": limit["institution"], "name": "A bank", "kind": "bank",
         "admitted_from": "2026-01-01", "delivery": "folder", "format": "csv",
         "fields": "phone|amount"}
        for limit in LIMITS.values()
    ]  # fmt: skip
    land(home, "institutions", "platform", DELIVERED, institutions)
    for day in (DELIVERED, RETURNED, NEXT):
        land(home, "leads", "search", day, [lead(day, number) for number in range(LEADS)])
    run(home, DELIVERED, DELIVERED)
    for name, limit in LIMITS.items():
        at = f"{RETURNED}T10:00:00+08:00"
        returns = [
            {"match_id": match["match_id"], "product_id": name, "event": "returned",
             "event_at": at, "recorded_at": at, "reason": "wrong_number"}
            for match in matches(home, DELIVERED, name)[:BACK]
        ]  # fmt: skip
        land(home, "outcomes", limit["institution"], RETURNED, returns)
    run(home, RETURNED, NEXT)
    return home


def matches(home: Path, day: date, product: str) -> list[dict[str, Any]]:
    rows = pq.read_table(home / f"matches/date={day}/matches.parquet", partitioning=None)
    return [row for row in rows.to_pylist() if row["product_id"] == product]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


@pytest.mark.prove
@pytest.mark.parametrize("product", LIMITS)
def test_the_next_plan_has_quota_and_money_back_and_every_row_leaves(home: Path, product: str):
    first, second, third = (len(matches(home, day, product)) for day in (DELIVERED, RETURNED, NEXT))
    used = first + second
    assert BACK <= first < used < MONTH
    assert third == MONTH - used + BACK  # what the month has left, and what came back
    (terms,) = [
        row
        for row in pq.read_table(home / f"marts/date={NEXT}/products.parquet").to_pylist()
        if row["product_id"] == product
    ]
    assert terms["month_leads"] == used - BACK
    assert terms["month_spend"] == (used - BACK) * 10.0
    folder = home / f"outbox/date={NEXT}" / LIMITS[product]["institution"]
    assert read_manifest(folder)["state"] == "delivered"  # the last gate counts the same
    assert len(rows_of(folder / "leads.csv")) == third


@pytest.mark.prove
@pytest.mark.parametrize("product", LIMITS)
def test_the_decision_reaches_the_institution_and_the_ledger(home: Path, product: str):
    institution = LIMITS[product]["institution"]
    returned = {match["match_id"] for match in matches(home, DELIVERED, product)[:BACK]}
    decisions = rows_of(home / f"outbox/date={RETURNED}" / institution / "return_decision.csv")
    assert {(row["match_id"], row["decision"]) for row in decisions} == {
        (name, "accepted") for name in returned
    }
    files = sorted(home.glob(f"ledger/deliveries/date={DELIVERED}/*.parquet"))
    events = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert returned <= {row["match_id"] for row in events if row["event"] == "returned"}


@pytest.mark.prove
def test_the_channel_hears_of_each_return_and_of_what_it_costs(home: Path):
    news = rows_of(home / f"outbox/channels/date={RETURNED}/search/feedback.csv")
    returned = {
        match["lead_id"] for name in LIMITS for match in matches(home, DELIVERED, name)[:BACK]
    }
    assert {row["lead_id"] for row in news if row["event"] == "returned"} == returned
    amounts = [float(row["amount"]) for row in news if row["event"] == "earned"]
    assert sum(amount for amount in amounts if amount < 0) == -10.0 * BACK * len(LIMITS)
    settlement = json.loads((home / f"settlement/date={RETURNED}/manifest.json").read_text())
    assert settlement["return_decisions"] == BACK * len(LIMITS)
