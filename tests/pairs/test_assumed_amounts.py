"""A lead without an amount is matched at the assumed one; nothing that restricts opens by it."""

import pyarrow as pa
import pytest

from pipelines.core.database import connect
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.eligibility.reference_rules import check_pair
from tests.helpers.mart_schemas import SCHEMAS
from tests.helpers.marts import write_marts
from tests.helpers.matched_day import DAY
from tests.pairs.test_eligibility import Row, change_mart, find_pairs, list_closed, one_lead

ASSUMED = {"amount": None, "matched_amount": 20_000.0}


def market_with_rule(tmp_path, lead: Row, attribute: str, op: str, value: str):
    """Return the market of one lead whose open product has one rule."""
    settings = one_lead(tmp_path, lead)
    tables = {
        name: change_mart(settings, name, [{}] * rows)
        for name, rows in (("leads", 1), ("products", 2))
    }
    product = tables["products"].to_pylist()[0]
    row: Row = dict.fromkeys(SCHEMAS["product_rules"].names)
    row |= {name: product[name] for name in ("institution_id", "product_id")}
    row |= {"attribute": attribute, "op": op, "value": value}
    rules = pa.Table.from_pylist([row], SCHEMAS["product_rules"])
    return write_marts(
        tmp_path, DAY, leads=1, products=2, pairs=1, leads_table=tables["leads"],
        products_table=tables["products"], product_rules=rules,
    )  # fmt: skip


def test_the_assumed_amount_is_within_the_limits_of_the_product(tmp_path):
    pairs, _ = find_pairs(one_lead(tmp_path, ASSUMED))
    assert len(pairs) == 1


@pytest.mark.parametrize(
    "lead",
    [
        ASSUMED | {"matched_amount": 50_000.01},
        ASSUMED | {"matched_amount": 999.0},
        ASSUMED | {"matched_amount": None},
        # what was stated counts, whichever amount would be assumed
        {"amount": 50_000.01, "matched_amount": 20_000.0},
    ],
)
def test_an_amount_outside_the_limits_or_unknown_excludes_the_product(tmp_path, lead):
    pairs, (funnel,) = find_pairs(one_lead(tmp_path, lead))
    assert pairs == set()
    assert (funnel["currency"], funnel["amount"]) == (1, 0)


def test_a_lead_without_a_currency_fits_no_product(tmp_path):
    pairs, (funnel,) = find_pairs(one_lead(tmp_path, ASSUMED | {"currency": None}))
    assert pairs == set()
    assert (funnel["segment"], funnel["currency"]) == (1, 0)


@pytest.mark.parametrize(("op", "value"), [("known", "true"), ("ge", "1"), ("le", "1000000")])
def test_a_rule_on_the_amount_sees_what_the_lead_stated(tmp_path, op, value):
    assumed, _ = find_pairs(market_with_rule(tmp_path, ASSUMED, "amount", op, value))
    assert assumed == set()
    stated, _ = find_pairs(market_with_rule(tmp_path, {}, "amount", op, value))
    assert len(stated) == 1


def test_no_rule_can_name_the_assumption(tmp_path):
    settings = market_with_rule(tmp_path, ASSUMED, "matched_amount", "ge", "1")
    assert any("matched_amount" in reason for reason in list_closed(settings).values())


def test_the_explanation_says_that_the_amount_is_assumed(tmp_path):
    settings = one_lead(tmp_path, ASSUMED)
    marts = settings.day_folder(settings.marts, DAY)
    with connect(settings) as connection:
        load_leads(connection, marts)
        load_products(connection, marts, DAY)
        (lead,) = connection.sql("from leads").to_arrow_table().to_pylist()
        (product,) = connection.sql("from products").to_arrow_table().to_pylist()
    checks = {check.step: check for check in check_pair(lead, product, [], every_institution="all")}
    assert checks["amount"].is_met
    assert "assumed" in checks["amount"].rule
