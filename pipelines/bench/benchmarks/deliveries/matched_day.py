"""A large invented day after matching: lake, marts and matches, by the contracts.

Each lead is a person or business of its own and is matched once. Products differ in size, as
markets do. Institutions take CSV or Parquet and agreed on 8 to 19 columns of a lead.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from expectations import policy
from expectations.contracts import ARROW_TYPES, load
from expectations.tables import load_tables
from pipelines.core.arrays import IntArray
from pipelines.core.database import connect
from pipelines.core.identifier_key import load_identifier_key
from pipelines.core.publishing import publishing, write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.identity import derive_columns
from pipelines.matches.match_day import SCHEMA as MATCHES
from pipelines.matches.match_id import create_match_id_macro
from pipelines.matches.shadow_price_text import PRICES
from pipelines.matches.shadow_price_text import RULE_COSTS as RULE_COSTS_FILE
from pipelines.matches.shadow_prices import RULE_COSTS
from pipelines.matches.shadow_prices import SCHEMA as LIMITS
from pipelines.simulate.keyed_random import KeyedRandom
from pipelines.simulate.population import identities
from pipelines.simulate.world import REGIONS, TextArray, TimeArray, format_ids

DAY = date(2026, 3, 20)
CHANNELS = 20
PRODUCTS_PER_INSTITUTION = 2
SPREAD = 0.9
"""Standard deviation of the logarithm of a product's share of the leads."""
PEOPLE = 0.8
"""Share of leads of people; the others are of businesses."""
COVERS_ALL = 0.7
"""Share of consents that cover every institution."""
SCOPE_SIZE = 12
"""Institutions that another consent names."""
ORDERS_PER_LEAD = 0.1
"""Suppression orders against people without a lead, for each lead of the day."""
FIELDS = (
    *("full_name", "phone", "id_type", "id_number", "region", "employment", "income_monthly"),
    *("debt_monthly", "bureau_score", "housing", "amount", "currency", "term_months", "purpose"),
    *("consent_at", "consent_version", "business_name", "industry", "revenue_annual"),
)
LEAST_FIELDS = 8
CATEGORIES = {
    "employment": ("employed", "self_employed", "retired", "student", "other"),
    "housing": ("own", "mortgage", "rent", "family"),
    "purpose": ("working_capital", "education", "home", "car"),
}
RULE = {"attribute": "bureau_score", "op": "ge", "value": "300"}
DATA_TYPES = {
    "varchar": "text",
    "varchar[]": "list",
    "bigint": "integer",
    "double": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamptz": "timestamp",
}
"""DuckDB's type -> the contracts' type."""

Columns = dict[str, Any]


def write_matched_day(
    settings: Settings, leads: int, history: int, public_keys: Sequence[str], seed: int
) -> None:
    """Publish what deliveries of `DAY` read of `lake/`, `marts/` and `matches/`.

    Args:
        settings: Settings of the home.
        leads: Leads of each day.
        history: Earlier days with leads, of other people.
        public_keys: The public key of each institution.
        seed: Seed of all random numbers.
    """
    random = np.random.default_rng(seed)
    products = len(public_keys) * PRODUCTS_PER_INSTITUTION
    share = random.lognormal(0.0, SPREAD, products)
    product = random.choice(products, leads, p=share / share.sum())
    for back in range(history, -1, -1):
        requests = _make_leads(settings, DAY - timedelta(days=back), product, back * leads, random)
        _publish_feed(settings, "leads", requests, DAY - timedelta(days=back))
    catalogue = _make_products(np.bincount(product, minlength=products), random)
    lenders = _make_institutions(public_keys)
    _publish_feed(settings, "institutions", lenders)
    _publish_feed(settings, "products", catalogue)
    _publish_feed(settings, "suppressions", _make_orders(round(leads * ORDERS_PER_LEAD), random))
    _publish(settings.day_folder(settings.marts, DAY), _make_marts(catalogue, lenders))
    matches = {"matches.parquet": _make_matches(settings, requests, product, random)}
    prices = _make_prices(catalogue, random)
    _publish(settings.day_folder(settings.matches, DAY), matches | prices)


def _make_leads(
    settings: Settings, day: date, product: IntArray, first: int, random: np.random.Generator
) -> Columns:
    """Return the columns of a day's `lake/leads`, the derived ones included.

    Args:
        settings: Settings of the home.
        day: The business date.
        product: The product that each lead is matched with; its consent covers the institution.
        first: Number of the first person.
        random: Random numbers.
    """
    count = product.size
    number, words = first + np.arange(count), KeyedRandom(1)
    region = random.integers(0, REGIONS.size, count)
    is_person = random.random(count) < PEOPLE
    # a date of birth for each thousand leads: no two people have one identity number
    born = np.datetime64("1955-01-01") + number // 1000 * 37 % 17_500
    firms = identities.credit_codes(region, number).astype(np.str_)
    people = identities.resident_numbers(region, born, number % 1000).astype(np.str_)
    start = np.datetime64(settings.day_start(day).astimezone(UTC).replace(tzinfo=None), "us")
    captured = _utc(start + random.integers(0, 86_400_000_000, count))
    columns: Columns = {
        "channel_id": format_ids("channel-", np.arange(count) * CHANNELS // count, 2),
        "lead_id": format_ids("lead-", number, 8),
        "captured_at": captured,
        "segment": np.where(is_person, "consumer", "business"),
        "campaign_id": format_ids("campaign-", random.integers(0, 40, count), 2),
        "full_name": identities.person_names(words, number),
        "id_type": np.where(is_person, "prc_resident_id", "prc_uscc"),
        "id_number": np.where(is_person, people, firms),
        "owner_id_type": pa.nulls(count, pa.string()),
        "owner_id_number": pa.nulls(count, pa.string()),
        "phone": identities.phones(number).astype(np.str_),
        "device_id": identities.device_ids(words, number),
        "region": REGIONS[region],
        "birth_date": born,
        "income_monthly": np.round(random.lognormal(9.0, 0.6, count), 2),
        "debt_monthly": np.round(random.lognormal(7.0, 0.9, count), 2),
        "bureau_score": np.round(random.uniform(350, 850, count)),
        "amount": np.round(random.lognormal(10.5, 0.8, count), -2) + 100,
        "currency": np.full(count, "CNY"),
        "term_months": random.choice([6, 12, 24, 36], count),
        "consent_scope": _make_scopes(product // PRODUCTS_PER_INSTITUTION, random),
        "consent_at": captured,
        "consent_version": np.full(count, "v1"),
        "business_name": pa.array(identities.firm_names(words, number), mask=is_person),
        "industry": pa.array(format_ids("C", random.integers(10, 30, count), 2), mask=is_person),
        "revenue_annual": pa.array(np.round(random.lognormal(14.0, 1.0, count), 2), mask=is_person),
    }
    for name, values in CATEGORIES.items():
        columns[name] = np.array(values)[random.integers(0, len(values), count)]
    contract = load("leads")
    with connect(settings) as connection:
        given = pa.table({name: pa.array(values) for name, values in columns.items()})
        derived = derive_columns(
            connection, contract, given, settings.time_zone, load_identifier_key(settings)
        )
    return columns | {column.name: derived[column.name] for column in contract.derived}


def _make_scopes(lender: IntArray, random: np.random.Generator) -> pa.ListArray:
    """Return consents: most to all institutions, the others to some, the matched one first."""
    names = format_ids("bank-", np.arange(lender.max() + 1), 4)
    words = pa.array([policy.consent(DAY).every_institution, *names])
    covers_all = random.random(lender.size) < COVERS_ALL
    lengths = np.where(covers_all, 1, SCOPE_SIZE)
    ends = np.cumsum(lengths)
    chosen = random.integers(1, len(words), ends[-1])
    chosen[ends - lengths] = np.where(covers_all, 0, lender + 1)
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pa.ListArray.from_arrays(offsets, words.take(pa.array(chosen)))


def _make_orders(count: int, random: np.random.Generator) -> Columns:
    """Return orders against people without a lead."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[random.integers(0, 16, (count, 64))]
    return {
        "platform_id": np.full(count, "platform"),
        "subject_type": random.choice(["phone", "id_number"], count),
        "subject": digits.view("S64").ravel().astype(np.str_),
        "reason": random.choice(["do_not_contact", "erasure", "fraud"], count),
        "effective_at": _utc(np.full(count, np.datetime64("2026-11-01", "us"))),
    }


def _make_institutions(public_keys: Sequence[str]) -> Columns:
    count = len(public_keys)
    number = np.arange(count)
    agreed = LEAST_FIELDS + number % (len(FIELDS) - LEAST_FIELDS + 1)
    names = format_ids("bank-", number, 4)
    return {
        "platform_id": np.full(count, "platform"),
        "institution_id": names,
        "name": names,
        "kind": np.array(["bank", "consumer_finance", "micro_lender"])[number % 3],
        "admitted_from": np.full(count, np.datetime64("2026-01-01")),
        "delivery": np.full(count, "folder"),
        "format": np.where(number // 2 % 3 == 0, "parquet", "csv"),
        "fields": pa.array([FIELDS[:fields] for fields in agreed.tolist()]),
        "public_key": pa.array(public_keys),
    }


def _make_products(quota: IntArray, random: np.random.Generator) -> Columns:
    """Return products whose limits just hold the matches of the day, by price model."""
    number = np.arange(quota.size)
    model = number % 3
    price = np.array([20.0, 150.0, 0.02])[model]
    return {
        "institution_id": _institution_ids(number),
        "product_id": format_ids("loan-", number, 4),
        "name": np.full(quota.size, "A loan"),
        "segment": np.full(quota.size, "consumer"),
        "currency": np.full(quota.size, "CNY"),
        "amount_min": np.full(quota.size, 100.0),
        "amount_max": np.full(quota.size, 1e7),
        "term_min_months": np.full(quota.size, 3),
        "term_max_months": np.full(quota.size, 60),
        "apr_min": np.round(random.uniform(0.04, 0.12, quota.size), 4),
        "apr_max": np.full(quota.size, 0.24),
        "price_model": np.array(["cpl", "cpa", "cps"])[model],
        "price": price,
        "daily_quota": quota,
        "daily_budget": pa.array(quota * price, mask=model != 0),
        "monthly_quota": pa.array(quota * 20, mask=number % 4 != 0),
        "status": np.full(quota.size, "active"),
        "valid_from": np.full(quota.size, np.datetime64("2026-01-01")),
    }


def _make_marts(products: Columns, institutions: Columns) -> dict[str, pa.Table]:
    """Return the marts `products`, with how each institution is delivered to, and their rules."""
    count = products["product_id"].size
    lender = np.arange(count) // PRODUCTS_PER_INSTITUTION
    of_lender = {
        name: pa.array(institutions[name]).take(pa.array(lender))
        for name in ("admitted_from", "delivery", "format", "fields", "public_key")
    }
    stated = {
        "institution_kind": institutions["kind"][lender],
        "month_leads": np.zeros(count, np.int64),
        "is_open": np.ones(count, np.bool_),
    }
    owner = {name: products[name] for name in ("institution_id", "product_id")}
    rules = owner | {name: np.full(count, value) for name, value in RULE.items()}
    return {
        f"{name}.parquet": _fill(columns, _read_mart_schema(name))
        for name, columns in {
            "products": products | of_lender | stated,
            "product_rules": rules,
        }.items()
    }


def _make_matches(
    settings: Settings, leads: Columns, product: IntArray, random: np.random.Generator
) -> pa.Table:
    """Return the matches, one a lead, in the order in which the matching publishes them."""
    count = product.size
    columns: Columns = {name: leads[name] for name in ("channel_id", "lead_id", "segment")} | {
        "institution_id": _institution_ids(product),
        "product_id": format_ids("loan-", product, 4),
        "rank": np.ones(count, np.int64),
        "pd": random.beta(1.2, 14, count),
        "risk_tier": np.full(count, "B"),
        "suggested_apr": np.round(random.uniform(0.12, 0.239, count), 4),
        "p_approve": random.uniform(0.3, 0.8, count),
        "p_fund": random.uniform(0.3, 0.9, count),
        "expected_value": np.round(random.lognormal(4, 1, count), 4),
        "expected_cost": np.round(random.lognormal(3, 0.5, count), 4),
        "price_of_quota": np.zeros(count),
        "explored": np.zeros(count, np.bool_),
        "propensity": np.ones(count),
        "policy_version": np.full(count, policy.version()),
    }
    with connect(settings) as connection:
        create_match_id_macro(connection, settings)
        connection.register("planned", _fill(columns, MATCHES))
        matches = connection.sql(
            "select * replace (make_match_id($day, channel_id, lead_id, institution_id, "
            "product_id) as match_id) from planned order by channel_id, lead_id, rank",
            params={"day": f"{DAY}"},
        ).to_arrow_table()
    return matches.cast(MATCHES)


def _make_prices(products: Columns, random: np.random.Generator) -> dict[str, pa.Table]:
    """Return the shadow prices of the quotas and the costs of the rules."""
    quota = products["daily_quota"].astype(np.float64)
    price = np.round(random.lognormal(2, 1, quota.size), 4)
    owner = {name: products[name] for name in ("institution_id", "product_id")}
    limits = {"kind": np.full(quota.size, "quota"), "limit": quota, "used": quota, "price": price}
    costs = {
        "step": np.full(quota.size, "rules"),
        "attribute": np.full(quota.size, RULE["attribute"]),
        **dict.fromkeys(("near_misses", "good_leads", "value"), price),
    }
    return {
        PRICES: _fill(owner | limits | {"short": np.zeros(quota.size)}, LIMITS),
        RULE_COSTS_FILE: _fill(owner | costs, RULE_COSTS),
    }


def _institution_ids(product: IntArray) -> TextArray:
    return format_ids("bank-", product // PRODUCTS_PER_INSTITUTION, 4)


def _utc(times: TimeArray) -> pa.Array:
    return pa.array(times).cast(pa.timestamp("us", tz="UTC"))


def _publish_feed(settings: Settings, feed: str, columns: Columns, day: date = DAY) -> None:
    """Publish a partition of the lake."""
    count = len(next(iter(columns.values())))
    lineage = {
        "file": np.full(count, "invented.csv"),
        "landed_on": np.full(count, np.datetime64(day)),
        "is_late": np.zeros(count, np.bool_),
        "known_at": pa.repeat(pa.scalar(settings.day_start(day)), count),
    }
    table = _fill(columns | lineage, load(feed).lake_schema)
    _publish(settings.day_folder(settings.lake / feed, day), {f"{feed}.parquet": table})


def _publish(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    with publishing(folder, {}) as fresh:
        for name, table in tables.items():
            write_parquet(table, fresh / name)


def _fill(columns: Columns, schema: pa.Schema) -> pa.Table:
    """Return `columns` by `schema`; a column that is not given is empty."""
    count = len(next(iter(columns.values())))
    arrays = [columns[name] if name in columns else pa.nulls(count) for name in schema.names]
    return pa.table(arrays, names=schema.names).cast(schema)


def _read_mart_schema(name: str) -> pa.Schema:
    """Return the columns of a mart, by dbt's property files."""
    columns = load_tables("marts")[name].values()
    return pa.schema([(c.name, ARROW_TYPES[DATA_TYPES[c.data_type]]) for c in columns])
