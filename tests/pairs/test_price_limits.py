"""Caps on the whole cost, and the fee lines that the law asks for, exclude the right pairs."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyxirr

from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STEPS, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.reference_rules import check_pair
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts

Row = dict[str, Any]

BEFORE, SINCE = date(2026, 7, 31), date(2026, 8, 1)
"""The last day on which caps compare the rate alone, and the first one of the whole cost."""
CAP = 0.24

KEY = {"institution_id": "bank-000", "product_id": "loan-0000"}
LATE = {"fee": "late_payment", "basis": "share_of_balance", "value": 0.01}
LATE |= {"charged_when": "on_default", "collector": "bank-000", "is_contingent": True}
NOTHING = LATE | {"fee": "service_fee", "value": 0.0, "charged_when": "upfront"}
NOTHING |= {"is_contingent": False}


def write_market(home, product: Row, fees: list[Row], **lead: Any) -> Settings:
    """Publish one lead that asks for 10,000 over 12 months, and one open product with its fees."""
    settings = write_marts(home, SINCE, leads=1, products=2, pairs=1)
    asked = {"segment": "consumer", "amount": 10_000.0, "matched_amount": 10_000.0}
    asked |= {"term_months": 12, "consent_scope": ["all"]} | lead
    tables = {
        "leads_table": change(settings, "leads", [asked]),
        "products_table": change(settings, "products", [product, {}]),
        "product_fees_table": pa.Table.from_pylist(
            [KEY | fee for fee in fees], SCHEMAS["product_fees"]
        ),
    }
    return write_marts(home, SINCE, leads=1, products=2, pairs=1, **tables)


def change(settings: Settings, name: str, rows: list[Row]) -> pa.Table:
    table = pq.read_table(settings.day_folder(settings.marts, SINCE) / f"{name}.parquet")
    changed = [row | new for row, new in zip(table.to_pylist(), rows, strict=True)]
    return pa.Table.from_pylist(changed, SCHEMAS[name])


def find_excluding_step(settings: Settings, day: date = SINCE) -> str | None:
    """Return the step that excludes the only pair, the same by the engine and by the reference."""
    marts = settings.day_folder(settings.marts, SINCE)
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.execute("create or replace table leads as select *, 0.01 as pd from leads")
        rules = load_products(connection, marts, day)
        funnel = find_eligible_pairs(connection, rules, day).remaining
        (lead,) = connection.sql("from leads").to_arrow_table().to_pylist()
        (product,) = connection.sql("from products").to_arrow_table().to_pylist()
    checks = check_pair(lead, product, [], every_institution="all")
    failed = [check.step for check in checks if not check.is_met]
    step = next((step for step in STEPS if funnel[step][0] == 0), None)
    assert step == next(iter(failed), None)
    return step


MONTHLY = NOTHING | {"charged_when": "each_period"}

CASES: list[tuple[str, Row, list[Row], Row, str | None]] = [
    ("at the cap without a fee", {"apr_max": 0.24}, [NOTHING], {}, None),
    ("stated maximum above it", {"apr_min": 0.1, "apr_max": 0.25}, [NOTHING], {}, "price_cap"),
    ("fee within it", {"apr_max": 0.228}, [MONTHLY | {"value": 0.001}], {}, None),
    ("fee above it", {"apr_max": 0.2281}, [MONTHLY | {"value": 0.001}], {}, "price_cap"),
    (
        "a fee in special cases counts for nothing",
        {"apr_max": 0.24},
        [NOTHING, LATE | {"value": 0.5}],
        {},
        None,
    ),
    ("upfront share", {"apr_max": 0.2}, [NOTHING | {"value": 0.02}], {}, None),
    (
        "the same, short",
        {"apr_max": 0.2},
        [NOTHING | {"value": 0.02}],
        {"term_months": 3},
        "price_cap",
    ),
    (
        "a term that is not named can be the shortest one",
        {"apr_max": 0.2},
        [NOTHING | {"value": 0.02}],
        {"term_months": None},
        "price_cap",
    ),
    (
        "a fixed fee weighs on a small amount",
        {"apr_max": 0.2},
        [NOTHING | {"basis": "fixed", "value": 100.0}],
        {"matched_amount": 2_000.0, "amount": 2_000.0},
        "price_cap",
    ),
    (
        "and not on a large one",
        {"apr_max": 0.2},
        [NOTHING | {"basis": "fixed", "value": 100.0}],
        {},
        None,
    ),
    (
        "interest first",
        {"apr_max": 0.2, "repayment": "interest_first"},
        [NOTHING | {"value": 0.03}],
        {},
        None,
    ),
    (
        "the same in equal instalments",
        {"apr_max": 0.2},
        [NOTHING | {"value": 0.03}],
        {},
        "price_cap",
    ),
]


@pytest.mark.parametrize(
    ("product", "fees", "lead", "step"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_whole_cost_at_the_highest_stated_rate_is_within_the_cap(
    tmp_path, product, fees, lead, step
):
    assert find_excluding_step(write_market(tmp_path, product, [LATE, *fees], **lead)) == step


def test_before_the_date_only_the_lowest_rate_counts_and_no_line_is_asked_for(tmp_path):
    settings = write_market(tmp_path, {"apr_min": 0.24, "apr_max": 0.36}, [])
    assert find_excluding_step(settings, BEFORE) is None
    assert find_excluding_step(settings, SINCE) == "cost_disclosure"


@pytest.mark.parametrize(
    ("product", "fees", "step"),
    [
        ({}, [], "cost_disclosure"),
        ({}, [LATE], "cost_disclosure"),
        ({}, [NOTHING], "cost_disclosure"),
        ({}, [NOTHING, LATE], None),
        ({"currency": "USD"}, [], None),
        ({"segment": "business"}, [], None),
    ],
)
def test_a_product_without_the_lines_that_its_law_asks_for_is_not_offered(
    tmp_path, product, fees, step
):
    lead = {name: value for name, value in product.items() if name in ("currency", "segment")}
    assert find_excluding_step(write_market(tmp_path, product, fees, **lead)) == step


@pytest.mark.parametrize(("value", "step"), [(9_000.0, "price_cap"), (1_000.0, None)])
def test_without_a_cap_a_fee_may_not_take_nearly_the_whole_amount(tmp_path, value, step):
    fee = NOTHING | {"basis": "fixed", "value": value}
    settings = write_market(tmp_path, {"currency": "USD"}, [fee], currency="USD")
    assert find_excluding_step(settings) == step


def test_the_engine_equals_an_independent_irr_of_each_pair(tmp_path):
    """300 leads and 40 products with random fees, pair by pair."""
    random = np.random.default_rng(3)
    settings = write_marts(tmp_path, SINCE, leads=300, products=40, pairs=1)
    fees, rates = [], []
    for number in range(40):
        owner = {"institution_id": f"bank-{number // 2:03d}", "product_id": f"loan-{number:04d}"}
        monthly = float(random.choice([0.0, 0.0005, 0.002]))
        fixed = float(random.choice([0.0, 30.0, 300.0]))
        fees += [owner | LATE, owner | MONTHLY | {"value": monthly}]
        fees += [owner | NOTHING | {"fee": "account_fee", "basis": "fixed", "value": fixed}]
        rate = float(random.choice([0.18, 0.22, 0.235]))
        rates.append(
            {"apr_max": rate, "repayment": ["equal_instalments", "interest_first"][number % 2]}
        )
    tables = {
        "products_table": change(settings, "products", rates),
        "product_fees_table": pa.Table.from_pylist(fees, SCHEMAS["product_fees"]),
    }
    settings = write_marts(tmp_path, SINCE, leads=300, products=40, pairs=1, **tables)
    marts = settings.day_folder(settings.marts, SINCE)
    with connect(settings) as connection:
        load_leads(connection, marts)
        rules = load_products(connection, marts, SINCE)
        steps = ("amount", "term", "price_cap")
        eligible = find_eligible_pairs(connection, rules, SINCE, steps)
        connection.register("eligible", eligible.select_pairs_between())
        found = set(connection.sql("select lead_row, product_row from eligible").fetchall())
        leads = connection.sql("from leads").to_arrow_table().to_pylist()
        products = connection.sql("from products").to_arrow_table().to_pylist()
    expected = {
        (lead["lead_row"], product["product_row"])
        for lead in leads
        for product in products
        if is_offered(lead, product)
    }
    assert found == expected
    assert 500 < len(expected) < 11_000


def is_offered(lead: Row, product: Row) -> bool:
    """Return whether amount, term and whole cost allow the pair, by its cash flows."""
    amount, term = lead["matched_amount"], lead["term_months"]
    fits = product["amount_min"] <= amount <= product["amount_max"]
    if not fits or (term and not product["term_min_months"] <= term <= product["term_max_months"]):
        return False
    longest = range(product["term_min_months"], product["term_max_months"] + 1)
    return all(
        cost(amount, months, product) <= CAP + 1e-9 for months in ([term] if term else longest)
    )


def cost(amount: float, months: int, product: Row) -> float:
    """Return twelve times the monthly rate of a loan at the product's highest rate."""
    monthly = product["apr_max"] / 12
    annuity = amount * monthly / (1 - (1 + monthly) ** -months)
    owed, flows = amount, [amount - product["upfront_fixed"]]
    for month in range(1, months + 1):
        interest = owed * monthly
        paid = annuity if product["repayment"] == "equal_instalments" else interest
        paid = owed + interest if month == months else paid
        flows.append(-(paid + product["period_share_of_balance"] * owed))
        owed += interest - paid
    return 12 * float(pyxirr.irr(flows) or np.inf)
