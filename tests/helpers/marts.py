"""A small synthetic market, published as dbt publishes it: for tests that read the marts.

Approval, take-up and default follow a hidden rule of the columns, so that a model can learn it.
Equal arguments give equal bytes.
"""

import calendar
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.home.schema_version import home_file, write_version
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from tests.helpers.mart_schemas import SCHEMAS

Columns = dict[str, Any]

HISTORY_DAYS = 120
EMPTY = (
    "product_rules",
    "unlinked_outcomes",
    "outcome_receipts",
    "sudden_changes",
    "earlier_offers",
    "shared_phones",
    "fct_acquisition_cost",
    "lead_contradictions",
    "loan_book",
)
"""Marts of which the synthetic market has no row."""
REGIONS = np.array(["CN-31", "CN-44", "CN-11", "CN-51"])


def write_marts(
    home: Path,
    day: date,
    *,
    leads: int = 200,
    products: int = 12,
    pairs: int = 4000,
    seed: int = 7,
    **replaced: pa.Table,
) -> Settings:
    """Publish `marts/date=day` below `home` and return the settings of that home.

    Args:
        leads: Leads of the day itself; 4% of them are excluded (consent withdrawn).
        products: Products in force on the day, two to an institution; the last one is paused.
        pairs: Past pairs with outcomes, spread over the 120 days before `day`.
        replaced: A table by mart name (`leads=` and `products=` are counts; pass tables as
            `leads_table=` or `products_table=`) that is written instead of the synthetic one.
    """
    settings = Settings(home=home)
    random = np.random.default_rng(seed)
    catalogue = _products(products, day, random)
    past = _training_pairs(pairs, catalogue, day, random)
    tables: dict[str, pa.Table] = {
        "leads": _table("leads", _leads(leads, day, random)),
        "products": _table("products", catalogue),
        "training_pairs": _table("training_pairs", past),
        "outcomes": _outcomes(past, settings, day, random),
        "product_fees": _table("product_fees", _fees(catalogue)),
        "channels": _table("channels", _channels()),
        **{name: SCHEMAS[name].empty_table() for name in EMPTY},
    }
    tables |= {name.removesuffix("_table"): table for name, table in replaced.items()}
    if not home_file(settings).is_file():
        write_version(settings)
    with publishing(settings.day_folder(settings.marts, day), {}) as folder:
        for name, table in tables.items():
            write_parquet(table.cast(SCHEMAS[name]), folder / f"{name}.parquet")
    return settings


def _table(name: str, columns: Columns) -> pa.Table:
    """Return `columns` in the order of the mart's schema; a missing column is null."""
    rows = len(next(iter(columns.values())))
    return pa.table(
        [
            pa.array(columns[field.name], type=field.type, from_pandas=True)
            if field.name in columns
            else pa.nulls(rows, field.type)
            for field in SCHEMAS[name]
        ],
        schema=SCHEMAS[name],
    )


def _make_ids(prefix: str, numbers: np.ndarray, digits: int) -> np.ndarray:
    return np.array([f"{prefix}{number:0{digits}}" for number in numbers], dtype=str)


def _people(count: int, random: np.random.Generator) -> Columns:
    income = np.round(random.lognormal(9.2, 0.5, count), 2)
    debt = np.round(income * random.uniform(0, 0.6, count), 2)
    amount = np.round(income * random.uniform(0.5, 12, count), -2) + 100
    channel = random.integers(0, 4, count)
    return {
        "channel_id": np.char.add("channel-", channel.astype(str)),
        "segment": np.where(random.random(count) < 0.8, "consumer", "business"),
        "region": random.choice(REGIONS, count),
        "employment": random.choice(["employed", "self_employed", "retired"], count),
        "income_monthly": income,
        "debt_monthly": debt,
        "bureau_score": np.where(
            random.random(count) < 0.1, np.nan, random.integers(350, 850, count)
        ),
        "housing": random.choice(["own", "mortgage", "rent"], count),
        "amount": amount,
        "currency": np.full(count, "CNY"),
        "term_months": random.choice([6, 12, 24, 36], count),
        "purpose": random.choice(["working_capital", "education", "home"], count),
        "age_years": random.integers(20, 65, count),
        "debt_to_income": debt / income,
        "amount_to_income": amount / income / 12,
        "channel_leads_30d": 500 + channel * 100,
        "channel_decisions": 300 + channel * 50,
        "channel_approval_rate": 0.4 + channel * 0.05,
        "channel_funded_rate": 0.2 + channel * 0.02,
        "channel_cost_per_lead": 30.0 + channel * 5,
    }


def _leads(count: int, day: date, random: np.random.Generator) -> Columns:
    numbers = np.arange(count)
    noon = datetime(day.year, day.month, day.day, 4)  # noqa: DTZ001  Arrow adds the zone, UTC
    is_excluded = numbers % 25 == 24
    return _people(count, random) | {
        "lead_id": _make_ids("lead-", numbers, 7),
        "business_date": [day] * count,
        "captured_at": [noon + timedelta(seconds=int(n)) for n in numbers],
        "person_key": np.char.add("person-", numbers.astype(str)),
        "exclusion_stage": np.where(is_excluded, "consent", None),
        "exclusion_detail": np.where(is_excluded, "withdrawn", None),
        "channels": [[]] * count,
        "consent_scope": [["all"]] * count,
        "suppressed_institutions": [[]] * count,
    }


def _products(count: int, day: date, random: np.random.Generator) -> Columns:
    numbers = np.arange(count)
    owner = numbers // 2
    generosity = 0.2 + 0.6 * (owner % 7) / 6
    return {
        "institution_id": _make_ids("bank-", owner, 3),
        "product_id": _make_ids("loan-", numbers, 4),
        "institution_kind": np.array(["bank", "consumer_finance", "micro_lender"])[owner % 3],
        "name": np.char.add("Loan ", numbers.astype(str)),
        "segment": np.where(numbers % 5 == 4, "business", "consumer"),
        "currency": np.full(count, "CNY"),
        "amount_min": np.full(count, 1000.0),
        "amount_max": 50_000.0 * (1 + numbers % 4),
        "term_min_months": np.full(count, 3),
        "term_max_months": 12 * (1 + numbers % 3),
        "apr_min": np.full(count, 0.08),
        "apr_max": 0.14 + 0.02 * (numbers % 5),
        "pd_min": np.zeros(count),
        "pd_max": 0.05 + 0.05 * (numbers % 4),
        "repayment": np.full(count, "equal_instalments"),
        "price_model": np.array(["cpl", "cpa", "cps"])[numbers % 3],
        "price": np.array([20.0, 150.0, 0.02])[numbers % 3],
        "daily_quota": random.integers(10, 60, count),
        "month_leads": np.zeros(count, np.int64),
        "month_spend": np.zeros(count),
        "status": np.where(numbers == count - 1, "paused", "active"),
        "valid_from": [day - timedelta(days=HISTORY_DAYS)] * count,
        "admitted_from": [day - timedelta(days=HISTORY_DAYS)] * count,
        "delivery": np.full(count, "folder"),
        "format": np.where(owner % 2 == 0, "csv", "parquet"),
        "fields": [["full_name", "phone", "amount", "term_months"]] * count,
        "is_open": numbers != count - 1,
        "closed_reason": np.where(numbers == count - 1, "paused", None),
        "institution_decisions": 100 + owner,
        "institution_approval_rate": generosity,
        "institution_approval_rate_90d": generosity,
        "institution_funded_rate": np.full(count, 0.6),
        "institution_lent_share_of_month": np.full(count, 0.5),
        "days_to_month_end": np.full(count, calendar.monthrange(day.year, day.month)[1] - day.day),
        "product_decisions": 50 + owner,
        "product_approval_rate": generosity,
        "product_funded_rate": np.full(count, 0.6),
        "institution_approvals_to_expected": np.full(count, 1.0),
        "institution_fundings_to_expected": np.full(count, 1.0),
    }


def _fees(catalogue: Columns) -> Columns:
    """Return what each product states: a late payment fee, and nothing that is charged always."""
    institutions, products = (
        np.repeat(catalogue[name], 2) for name in ("institution_id", "product_id")
    )
    is_late = np.arange(len(products)) % 2 == 1
    return {
        "institution_id": institutions,
        "product_id": products,
        "fee": np.where(is_late, "late_payment", "service_fee"),
        "basis": np.full(len(products), "share_of_balance"),
        "value": np.where(is_late, 0.01, 0.0),
        "charged_when": np.where(is_late, "on_default", "each_period"),
        "collector": institutions,
        "is_contingent": is_late,
    }


def _training_pairs(
    count: int, catalogue: Columns, day: date, random: np.random.Generator
) -> Columns:
    numbers = np.arange(count)
    product = random.integers(0, len(catalogue["product_id"]), count)
    known = set(SCHEMAS["training_pairs"].names)
    terms = {
        name: np.asarray(values)[product]
        for name, values in catalogue.items()
        if name in known and name not in ("segment", "currency")
    }
    ages = random.integers(1, HISTORY_DAYS, count)
    return (
        _people(count, random)
        | terms
        | {
            "lead_id": _make_ids("past-", numbers, 7),
            "business_date": [day - timedelta(days=int(age)) for age in ages],
            "rank": 1 + numbers % 3,
            "suggested_apr": terms["apr_max"],
        }
    )


def _outcomes(
    past: Columns, settings: Settings, day: date, random: np.random.Generator
) -> pa.Table:
    """Return decisions a day after the lead, funding a day later, defaults forty days later."""
    score = np.nan_to_num(past["bureau_score"], nan=500) / 100
    approval = 0.9 * (score - 6) - 3 * (past["debt_to_income"] - 0.3)
    approval += 4 * (past["product_approval_rate"] - 0.5)
    approved = random.logistic(size=len(approval)) < approval
    take_up = 7 - 30 * past["apr_max"] - 0.8 * past["rank"]
    funded = approved & (random.logistic(size=len(approval)) < take_up)
    defaulted = funded & (random.logistic(size=len(approval)) < -1.2 - 0.9 * (score - 6))
    parts = [
        _events(past, settings, "approved", approved, 1),
        _events(past, settings, "declined", ~approved, 1),
        _events(past, settings, "funded", funded, 2),
        _events(past, settings, "overdue_90", defaulted, 42),
    ]
    outcomes = pa.concat_tables(parts)
    end = pa.scalar(settings.day_start(day + timedelta(days=1)), pa.timestamp("us", tz="UTC"))
    return outcomes.filter(pc.less(outcomes["known_at"], end))


def _events(
    past: Columns, settings: Settings, event: str, which: np.ndarray, days_after: int
) -> pa.Table:
    rows = np.flatnonzero(which)
    at = [
        settings.day_start(past["business_date"][row]) + timedelta(days=days_after, hours=12)
        for row in rows
    ]
    keys = ("channel_id", "lead_id", "institution_id", "product_id")
    columns = {name: past[name][rows] for name in keys}
    columns |= {"event": [event] * len(rows), "event_at": at, "recorded_at": at, "known_at": at}
    return _table("outcomes", columns | {"amount": past["amount"][rows]})


def _channels() -> Columns:
    numbers = np.arange(4)
    return {
        "channel_id": np.char.add("channel-", numbers.astype(str)),
        "leads_30d": 500 + numbers * 100,
        "decisions": 300 + numbers * 50,
        "approval_rate": 0.4 + numbers * 0.05,
        "funded_rate": 0.2 + numbers * 0.02,
        "cost_per_lead": 30.0 + numbers * 5,
        "currency": np.full(4, "CNY"),
    }
