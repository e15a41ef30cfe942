"""One valid row per feed, written by hand from the agreed description of the feeds.

No value is at a bound of its column, so that a test can break one rule without another.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from expectations.contracts import feeds, load

SIMULATED = tuple(feed for feed in feeds() if feed != "receipts")
"""Feeds of a simulated market before any delivery: receipts answer deliveries."""

GOOD: dict[str, dict[str, Any]] = {
    "channel_spend": {
        "date": date(2026, 11, 20),
        "campaign_id": "autumn",
        "impressions": 1000,
        "clicks": 40,
        "spend": 120.5,
        "currency": "CNY",
    },
    "institutions": {
        "institution_id": "bank_01",
        "name": "First Bank",
        "kind": "bank",
        "admitted_from": date(2025, 1, 1),
        "admitted_to": date(2027, 1, 1),
        "delivery": "folder",
        "format": "csv",
        "fields": ["lead_id", "amount"],
        "public_key": None,
        "register_applications": 900,
        "register_approvals": 700,
        "total_assets": 1e9,
    },
    "leads": {
        "lead_id": "L-1",
        "captured_at": datetime(2026, 11, 20, 4, tzinfo=UTC),
        "segment": "business",
        "campaign_id": "autumn",
        "full_name": "Zhang San",
        "id_type": "prc_uscc",
        "id_number": "91110000600037341L",
        "phone": "+8613800138000",
        "device_id": "device-1",
        "region": "CN-31",
        "birth_date": date(1985, 5, 5),
        "gender": "female",
        "ethnicity": "han",
        "employment": "self_employed",
        "income_monthly": 12000.0,
        "debt_monthly": 1500.0,
        "bureau_score": 690.0,
        "housing": "rent",
        "amount": 80000.0,
        "currency": "CNY",
        "term_months": 24,
        "purpose": "stock",
        "consent_scope": ["all"],
        "consent_at": datetime(2026, 11, 20, 3, tzinfo=UTC),
        "consent_version": "2026-08",
        "consent_withdrawn_at": datetime(2026, 11, 21, 3, tzinfo=UTC),
        "consent_text_sha256": "c0" * 32,
        "consent_purpose": "offers of lenders for a loan",
        "consent_evidence": "certificate 4711",
        "consent_by_role": "owner",
        "business_name": "Zhang Trading",
        "owner_id_type": "none",
        "owner_id_number": None,  # leads with the number of one owner would be one firm
        "industry": "F51",
        "established_on": date(2015, 3, 1),
        "revenue_annual": 2_400_000.0,
        "employees": 8,
        "tax_paid_annual": 60_000.0,
        "invoices_12m": 320,
        "collateral_value": 500_000.0,
        "loan_to_value": 0.4,
        "loan_program": "none",
        "occupancy": "owner",
        "dwelling": "flat",
        "is_new_business": False,
        "is_franchise": False,
        "is_urban": True,
        "jobs_created": 2,
        "jobs_retained": 8,
        "is_revolving": False,
        "guaranteed_share": 0.5,
        "card_utilisation": 0.35,
        "past_due_30": 1,
        "past_due_60": 0,
        "past_due_90": 0,
        "open_credit_lines": 6,
        "inquiries_6m": 2,
        "oldest_account_months": 130,
        "real_estate_loans": 1,
        "employment_months": 40,
        "employer_category": "private",
        "existing_relation": "none",
        "contactability": 0.8,
        "dependants": 2,
    },
    "outcomes": {
        "match_id": "m-1",
        "channel_id": "search",
        "lead_id": "L-1",
        "product_id": "p-1",
        "event": "approved",
        "event_at": datetime(2026, 11, 18, 4, tzinfo=UTC),
        "recorded_at": datetime(2026, 11, 19, 4, tzinfo=UTC),
        "reason": None,
        "amount": 50_000.0,
        "apr": 0.18,
        "currency": "CNY",
    },
    "product_fees": {
        "product_id": "p-1",
        "fee": "guarantee_fee",
        "basis": "share_of_balance",
        "value": 0.001,
        "currency": "CNY",
        "when": "each_period",
        "collector": "First Guarantee",
        "is_contingent": False,
    },
    "product_rules": {
        "product_id": "p-1",
        "attribute": "age_years",
        "op": "between",
        "value": "22|60",
    },
    "products": {
        "product_id": "p-1",
        "name": "Stock Loan",
        "segment": "business",
        "currency": "CNY",
        "amount_min": 10_000.0,
        "amount_max": 300_000.0,
        "term_min_months": 6,
        "term_max_months": 36,
        "apr_min": 0.08,
        "apr_max": 0.2,
        "pd_min": 0.01,
        "pd_max": 0.06,
        "price_model": "cps",
        "price": 0.02,
        "daily_quota": 50,
        "daily_budget": 20_000.0,
        "monthly_quota": 900,
        "monthly_budget": 400_000.0,
        "target_cost_per_approval": 900.0,
        "target_cost_per_funded": 2_000.0,
        "repayment": "equal_instalments",
        "status": "active",
        "valid_from": date(2026, 1, 1),
        "valid_to": date(2026, 12, 31),
    },
    "receipts": {
        "delivery_id": "20261119-bank_01",
        "version": 1,
        "sha256": "ab" * 32,
        "rows": 12,
        "status": "ack",
        "reason": None,
        "at": datetime(2026, 11, 19, 20, tzinfo=UTC),
    },
    "supply_links": {
        "buyer_id": "91110000600037341L",
        "seller_id": "91310000100003388F",
        "month": "2026-10",
        "amount": 45_000.0,
        "currency": "CNY",
        "invoices": 3,
        "paid_late_share": 0.1,
        "confirmed_share": 0.5,
        "days_to_pay": 45.0,
        "recorded_at": datetime(2026, 11, 3, 4, tzinfo=UTC),
    },
    "suppressions": {
        "subject_type": "lead",
        "subject": "search/L-1",
        "reason": "do_not_contact",
        "institution_id": None,
        "effective_at": datetime(2026, 11, 3, 4, tzinfo=UTC),
    },
}


def good(feed: str, **changes: Any) -> dict[str, Any]:
    """Return a valid row of `feed`, with `changes`."""
    return GOOD[feed] | changes


def received(feed: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return `rows` as the typed table that the quality gate checks."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=load(feed).received_schema)
