"""Pairs by set are the pairs one would find by hand, and the funnel tells where each other fell."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.database import connect
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STEPS, judge
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY

Row = dict[str, Any]


def changed(settings: Settings, name: str, rows: list[Row]) -> pa.Table:
    """Return a mart in which row i has the values of `rows[i]`."""
    table = pq.read_table(settings.day_folder(settings.marts, DAY) / f"{name}.parquet")
    before = table.to_pylist()
    return pa.Table.from_pylist(
        [row | new for row, new in zip(before, rows, strict=True)], SCHEMAS[name]
    )


def eligible(settings: Settings, day: date = DAY) -> tuple[set[tuple[str, str]], list[Row]]:
    """Return the pairs (lead, product) that remain and the funnel; risk is an even 5%."""
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_leads(connection, marts)
        connection.execute("create or replace table leads as select *, 0.05 as pd from leads")
        judged = judge(connection, load_products(connection, marts, day), day)
        connection.register("eligible", judged.table())
        pairs = connection.sql(
            """
            select lead_id, product_id
            from eligible join leads using (lead_row) join products using (product_row)
            """
        ).fetchall()
    return set(pairs), pa.table({k: pa.array(v) for k, v in judged.remaining.items()}).to_pylist()


def closed(settings: Settings, day: date = DAY) -> dict[str, str]:
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_products(connection, marts, day)
        rows = connection.table("closed_products").fetchall()
    return {product: reason for _, product, reason in rows}


def one_lead(tmp_path, lead: Row | None = None, product: Row | None = None) -> Settings:
    """Return a market of one lead and two products of one bank; the second is paused."""
    fitting = {"segment": "consumer", "amount": 10_000.0, "term_months": 6}
    settings = write_marts(tmp_path, DAY, leads=1, products=2, pairs=1)
    leads = changed(settings, "leads", [fitting | (lead or {})])
    products = changed(settings, "products", [product or {}, {}])
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
    pairs, (funnel,) = eligible(one_lead(tmp_path, lead, product))
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
        ({}, {"apr_min": 0.24, "apr_max": 0.3}),
        ({}, {"pd_min": 0.05, "pd_max": 0.05}),
        ({}, {"pd_min": None, "pd_max": None}),
    ],
)
def test_limits_themselves_are_within(tmp_path, lead, product):
    pairs, _ = eligible(one_lead(tmp_path, lead, product))
    assert pairs == {("lead-0000000", "loan-0000")}


def test_the_cap_of_the_day_counts(tmp_path):
    settings = one_lead(tmp_path, product={"apr_min": 0.3, "apr_max": 0.36})
    before_the_lower_cap = date(2025, 9, 30)
    assert len(eligible(settings, before_the_lower_cap)[0]) == 1
    assert len(eligible(settings, before_the_lower_cap + timedelta(days=1))[0]) == 0


def test_a_number_that_is_not_one_meets_no_rule(tmp_path):
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
    pairs, (funnel,) = eligible(settings)
    assert (pairs, funnel["term"], funnel["rules"]) == (set(), 1, 0)


def test_a_product_that_takes_no_leads_is_listed_with_its_reason(tmp_path):
    settings = one_lead(tmp_path, product={"currency": "XAU"})
    assert closed(settings) == {"loan-0000": "no exchange rate for XAU", "loan-0001": "paused"}


def test_a_rule_on_what_does_not_exist_closes_its_product_alone(tmp_path):
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
    assert closed(settings)["loan-0000"] == "rule shoe_size ge: no such lead column or feature"
    pairs, _ = eligible(settings)
    assert {product for _, product in pairs} >= {"loan-0001", "loan-0002"}
    assert "loan-0000" not in {product for _, product in pairs}


def test_no_leads_leave_an_empty_funnel(tmp_path):
    none = SCHEMAS["leads"].empty_table()
    assert eligible(write_marts(tmp_path, DAY, products=4, pairs=1, leads_table=none)) == (
        set(),
        [],
    )


def test_no_open_product_leaves_every_lead_with_none(tmp_path):
    none = SCHEMAS["products"].empty_table()
    pairs, funnel = eligible(
        write_marts(tmp_path, DAY, leads=3, products=4, pairs=1, products_table=none)
    )
    assert (pairs, [lead["open"] for lead in funnel]) == (set(), [0, 0, 0])


def by_hand(lead: Row, product: Row) -> bool:
    """Judge one pair; the caps of the day are 24% for CNY, and none for USD."""
    return bool(
        ({"all", product["institution_id"]} & set(lead["consent_scope"]))
        and product["institution_id"] not in lead["suppressed_institutions"]
        and lead["segment"] == product["segment"]
        and lead["currency"] == product["currency"]
        and product["amount_min"] <= lead["amount"] <= product["amount_max"]
        and product["term_min_months"] <= lead["term_months"] <= product["term_max_months"]
        and (product["currency"] == "USD" or product["apr_min"] <= 0.24)
        and product["pd_min"] <= 0.05 <= product["pd_max"]
        and product["is_open"]
        and lead["exclusion_stage"] is None
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_pairs_by_set_equal_pairs_by_hand(tmp_path, seed):
    random = np.random.default_rng(seed)
    scopes = [["all"], ["bank-000", "bank-003"], []]
    settings = write_marts(tmp_path, DAY, leads=150, products=30, pairs=1)
    leads = changed(
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
    products = changed(
        settings,
        "products",
        [
            {
                "apr_min": float(random.choice([0.08, 0.25])),
                "apr_max": 0.3,
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
        if by_hand(lead, product)
    }
    assert expected
    settings = write_marts(
        tmp_path, DAY, leads=150, products=30, pairs=1, leads_table=leads, products_table=products
    )
    pairs, funnel = eligible(settings)
    assert pairs == expected
    assert sum(lead["risk_band"] for lead in funnel) == len(pairs)
