"""The engine finds the pairs that a plain double loop finds, and the funnel adds up."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STEPS, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

Row = dict[str, Any]


def change_mart(settings: Settings, name: str, rows: list[Row]) -> pa.Table:
    """Return a mart in which row i has the values of `rows[i]`."""
    table = pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet")
    before = table.to_pylist()
    return pa.Table.from_pylist(
        [row | new for row, new in zip(before, rows, strict=True)], SCHEMAS[name]
    )


def find_pairs(settings: Settings, day: date = DAY) -> tuple[set[tuple[str, str]], list[Row]]:
    """Return the eligible pairs (lead, product) and the funnel; the pd of every lead is 5%."""
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.execute("create or replace table leads as select *, 0.05 as pd from leads")
        rules = load_products(connection, marts, day)
        eligibility = find_eligible_pairs(connection, rules, day)
        connection.register("eligible", eligibility.select_pairs_between())
        pairs = connection.sql(
            """
            select lead_id, product_id
            from eligible join leads using (lead_row) join products using (product_row)
            """
        ).fetchall()
    funnel = pa.table({step: pa.array(counts) for step, counts in eligibility.remaining.items()})
    return set(pairs), funnel.to_pylist()


def list_closed(settings: Settings, day: date = DAY) -> dict[str, str]:
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_products(connection, marts, day)
        rows = connection.table("closed_products").fetchall()
    return {product: reason for _, product, reason in rows}


def one_lead(tmp_path, lead: Row | None = None, product: Row | None = None) -> Settings:
    """Return a market of one lead and two products of one bank; the second is paused."""
    fitting = {"segment": "consumer", "amount": 10_000.0, "term_months": 6}
    settings = write_marts(tmp_path, DAY, leads=1, products=2, pairs=1)
    leads = change_mart(settings, "leads", [fitting | (lead or {})])
    products = change_mart(settings, "products", [product or {}, {}])
    return write_marts(
        tmp_path, DAY, leads=1, products=2, pairs=1, leads_table=leads, products_table=products
    )


STEP_OF = [
    ({"consent_scope": ["bank-999"]}, {}, "consent"),
    ({"consent_scope": []}, {}, "consent"),
    ({"consent_scope": None}, {}, "consent"),
    ({"suppressed_institutions": ["bank-000"]}, {}, "suppressed"),
    ({"segment": "business"}, {}, "segment"),
    ({"currency": "USD"}, {}, "currency"),
    ({"amount": 999.99}, {}, "amount"),
    ({"amount": 50_000.01}, {}, "amount"),
    ({"term_months": 2}, {}, "term"),
    ({}, {"apr_min": 0.2401, "apr_max": 0.3}, "price_cap"),
    ({}, {"pd_max": 0.0499}, "risk_band"),
    ({}, {"pd_min": 0.0501}, "risk_band"),
]


@pytest.mark.parametrize(("lead", "product", "step"), STEP_OF)
def test_the_funnel_shows_the_step_that_excluded_the_last_product(tmp_path, lead, product, step):
    pairs, (funnel,) = find_pairs(one_lead(tmp_path, lead, product))
    assert pairs == set()
    names = list(STEPS)
    before = names[: names.index(step)]
    assert [funnel[name] for name in ("open", *before)] == [1] * (len(before) + 1)
    assert [funnel[name] for name in names[names.index(step) :]] == [0] * (len(names) - len(before))


@pytest.mark.parametrize(
    ("lead", "product"),
    [
        ({}, {}),
        ({"amount": 1_000.0}, {}),
        ({"amount": 50_000.0}, {}),
        ({"term_months": None}, {}),
        ({"consent_scope": ["bank-000"]}, {}),
        ({"suppressed_institutions": ["bank-999"]}, {}),
        ({"suppressed_institutions": None}, {}),
        ({}, {"apr_min": 0.24, "apr_max": 0.24}),
        ({}, {"pd_min": 0.05, "pd_max": 0.05}),
        ({}, {"pd_min": None, "pd_max": None}),
    ],
)
def test_a_value_at_the_limit_is_eligible(tmp_path, lead, product):
    pairs, _ = find_pairs(one_lead(tmp_path, lead, product))
    assert pairs == {("lead-0000000", "loan-0000")}


def test_the_price_cap_of_the_day_applies(tmp_path):
    settings = one_lead(tmp_path, product={"apr_min": 0.3, "apr_max": 0.36})
    before_the_lower_cap = date(2025, 9, 30)
    assert len(find_pairs(settings, before_the_lower_cap)[0]) == 1
    assert len(find_pairs(settings, before_the_lower_cap + timedelta(days=1))[0]) == 0


def test_nan_counts_as_unknown_and_meets_no_rule(tmp_path):
    rule = {
        "institution_id": "bank-000",
        "product_id": "loan-0000",
        "attribute": "income_monthly",
        "op": "ge",
        "value": "1",
    }
    settings = one_lead(tmp_path, {"income_monthly": float("nan")})
    marts = settings.day_folder(settings.marts, DAY)
    tables = {f"{name}_table": pq.read_table(marts / f"{name}.parquet") for name in SCHEMAS}
    tables["product_rules_table"] = pa.Table.from_pylist([rule], SCHEMAS["product_rules"])
    settings = write_marts(tmp_path, DAY, leads=1, products=2, pairs=1, **tables)
    pairs, (funnel,) = find_pairs(settings)
    assert (pairs, funnel["term"], funnel["rules"]) == (set(), 1, 0)


def test_a_closed_product_is_listed_with_its_reason(tmp_path):
    settings = one_lead(tmp_path, product={"currency": "XAU"})
    assert list_closed(settings) == {"loan-0000": "no exchange rate for XAU", "loan-0001": "paused"}


def test_a_rule_on_an_unknown_attribute_closes_only_its_product(tmp_path):
    rules = [
        {
            "institution_id": "bank-000",
            "product_id": "loan-0000",
            "attribute": attribute,
            "op": "ge",
            "value": "40",
        }
        for attribute in ("shoe_size", "age_years")
    ]
    table = pa.Table.from_pylist(rules, SCHEMAS["product_rules"])
    settings = write_marts(tmp_path, DAY, leads=20, products=6, pairs=1, product_rules_table=table)
    assert list_closed(settings)["loan-0000"] == "rule shoe_size ge: no such lead column or feature"
    pairs, _ = find_pairs(settings)
    assert {product for _, product in pairs} >= {"loan-0001", "loan-0002"}
    assert "loan-0000" not in {product for _, product in pairs}


def test_a_day_without_leads_has_an_empty_funnel(tmp_path):
    none = SCHEMAS["leads"].empty_table()
    assert find_pairs(write_marts(tmp_path, DAY, products=4, pairs=1, leads_table=none)) == (
        set(),
        [],
    )


def test_a_day_without_open_products_has_no_pairs(tmp_path):
    none = SCHEMAS["products"].empty_table()
    pairs, funnel = find_pairs(
        write_marts(tmp_path, DAY, leads=3, products=4, pairs=1, products_table=none)
    )
    assert (pairs, [lead["open"] for lead in funnel]) == (set(), [0, 0, 0])


def meets_rules(lead: Row, product: Row) -> bool:
    """Return True if the pair is eligible; CNY has a cap of 24% on the highest rate, USD none."""
    return bool(
        ({"all", product["institution_id"]} & set(lead["consent_scope"]))
        and product["institution_id"] not in lead["suppressed_institutions"]
        and lead["segment"] == product["segment"]
        and lead["currency"] == product["currency"]
        and product["amount_min"] <= lead["amount"] <= product["amount_max"]
        and product["term_min_months"] <= lead["term_months"] <= product["term_max_months"]
        and (product["currency"] == "USD" or product["apr_max"] <= 0.24)
        and product["pd_min"] <= 0.05 <= product["pd_max"]
        and product["is_open"]
        and lead["exclusion_stage"] is None
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_engine_equals_a_double_loop(tmp_path, seed):
    random = np.random.default_rng(seed)
    scopes = [["all"], ["bank-000", "bank-003"], []]
    settings = write_marts(tmp_path, DAY, leads=150, products=30, pairs=1)
    leads = change_mart(
        settings,
        "leads",
        [
            {
                "consent_scope": scopes[random.integers(3)],
                "suppressed_institutions": [["bank-003"], []][random.integers(2)],
                "currency": ["CNY", "CNY", "USD"][random.integers(3)],
            }
            for _ in range(150)
        ],
    )
    products = change_mart(
        settings,
        "products",
        [
            {
                "apr_max": float(random.choice([0.2, 0.3])),
                "pd_min": float(random.choice([0.0, 0.06])),
                "currency": str(random.choice(["CNY", "CNY", "USD"])),
                "institution_kind": "bank",
            }
            for _ in range(30)
        ],
    )
    expected = {
        (lead["lead_id"], product["product_id"])
        for lead in leads.to_pylist()
        for product in products.to_pylist()
        if meets_rules(lead, product)
    }
    assert expected
    settings = write_marts(
        tmp_path, DAY, leads=150, products=30, pairs=1, leads_table=leads, products_table=products
    )
    pairs, funnel = find_pairs(settings)
    assert pairs == expected
    assert sum(lead["risk_band"] for lead in funnel) == len(pairs)
