"""What a pair is worth, checked by hand."""

from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from expectations.policy_types import Value
from pipelines.pairs.valuation import priced_sql, valued_sql

WEIGHTS = Value(
    decided_on=date(2026, 1, 1),
    source="this test",
    revenue_weight=1.0,
    person_weight=0.5,
    institution_weight=0.1,
    minimum_value=1.0,
    most_offers_per_lead=5,
    funding_cost=0.03,
    loss_given_default=0.6,
    amount_room_weight=0.0,
    term_room_weight=0.0,
)
PAIR = {
    "amount": 10_000.0,
    "amount_max": 50_000.0,
    "term_months": 12,
    "term_max_months": 36,
    "apr_min": 0.08,
    "apr_max": 0.18,
    "price_cap": 0.24,
    "reference_apr": 0.24,
    "pd_min": 0.0,
    "pd_max": 0.1,
    "pd": 0.05,
    "p_approve": 0.5,
    "p_fund": 0.8,
    "price_model": "cpl",
    "price": 20.0,
    "exchange_rate": 1.0,
    "cost_per_lead": 3.0,
}


def valued(weights: Value = WEIGHTS, **changes: Any) -> dict[str, Any]:
    connection = duckdb.connect(":memory:")
    connection.register("scored", pa.Table.from_pylist([PAIR | changes]))
    sql = valued_sql(f"({priced_sql('scored')})", weights)
    (row,) = connection.sql(sql).to_arrow_table().to_pylist()
    return row


def test_the_price_suggested_lies_where_the_risk_lies_in_the_band():
    assert valued()["suggested_apr"] == 0.13
    assert valued(pd=0.0)["suggested_apr"] == 0.08
    assert valued(pd=0.1)["suggested_apr"] == 0.18


def test_a_cap_lowers_the_upper_end_of_prices():
    assert valued(price_cap=0.12)["suggested_apr"] == 0.1
    assert valued(price_cap=0.12, pd=0.1)["suggested_apr"] == 0.12


def test_a_price_of_many_digits_is_never_rounded_out_of_its_limits():
    assert valued(apr_min=0.080049, apr_max=0.080049)["suggested_apr"] == 0.080049


def test_a_product_without_band_prices_any_risk():
    assert valued(pd_min=None, pd_max=None, pd=0.5)["suggested_apr"] == 0.13


def test_a_band_of_one_point_is_priced_at_its_upper_end():
    assert valued(pd_min=0.05, pd_max=0.05)["suggested_apr"] == 0.18


@pytest.mark.parametrize(
    ("price_model", "price", "spend"),
    [("cpl", 20.0, 20.0), ("cpa", 150.0, 75.0), ("cps", 0.02, 80.0)],
)
def test_revenue_follows_the_price_model(price_model, price, spend):
    row = valued(price_model=price_model, price=price, exchange_rate=7.0)
    assert row["expected_spend"] == pytest.approx(spend)
    assert row["revenue"] == pytest.approx(spend * 7)


def test_the_person_gains_what_the_loan_is_cheaper_than_the_cap():
    cheaper = 0.24 - 0.13
    assert valued()["person_benefit"] == pytest.approx(0.5 * 0.8 * cheaper * 10_000 * 0.5)


def test_a_loan_dearer_than_the_reference_does_the_person_no_harm_in_figures():
    assert valued(reference_apr=0.1)["person_benefit"] == 0


def test_the_institution_earns_its_margin_less_expected_loss():
    yield_after_costs = (0.13 - 0.03) * 0.5 - 0.05 * 0.6
    assert valued()["institution_margin"] == pytest.approx(0.4 * yield_after_costs * 10_000)


def test_value_is_the_weighted_sum_in_whole_ten_thousandths():
    row = valued(price=20.00004)
    parts = row["revenue"] + 0.5 * row["person_benefit"] + 0.1 * row["institution_margin"]
    assert row["expected_value"] == round(parts, 4)
    assert row["expected_cost"] == 3.0


def test_a_lead_that_names_no_term_counts_with_the_longest():
    assert valued(term_months=None)["person_benefit"] == pytest.approx(
        3 * valued()["person_benefit"]
    )


def fit(**changes: Any) -> float:
    """Return the fit, where a missing room costs 0.2 by amount and 0.1 by term."""
    rooms = {"amount_room_weight": 0.2, "term_room_weight": 0.1}
    row = valued(WEIGHTS.model_copy(update=rooms), **changes)
    without = valued(**changes)["person_benefit"]
    assert row["person_benefit"] == pytest.approx(row["person_fit"] * without)
    found: float = row["person_fit"]
    return found


def test_a_loan_with_room_for_amount_and_term_fits_fully():
    assert fit(amount_max=20_000.0, term_max_months=24) == 1
    assert fit(amount_max=90_000.0, term_max_months=60) == 1


def test_a_request_at_the_limits_of_a_product_fits_less():
    assert fit(amount_max=10_000.0, term_max_months=24) == pytest.approx(0.8)
    assert fit(amount_max=15_000.0, term_max_months=24) == pytest.approx(0.9)
    assert fit(amount_max=20_000.0, term_max_months=12) == pytest.approx(0.9)
    assert fit(amount_max=10_000.0, term_max_months=12) == pytest.approx(0.72)


def test_a_lead_that_names_no_term_fits_any():
    assert fit(amount_max=20_000.0, term_months=None) == 1
