"""Value of a pair by hand-computed examples, and recomputed from published pairs."""

from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from expectations import policy
from expectations.policy_types import Value
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches import match_day
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.valuation import load_pairs, suggest_apr_sql, value_sql
from tests.helpers.matched_day import DAY

VERSION = policy.version
WEIGHTS = Value(
    decided_on=date(2026, 1, 1),
    source="this test",
    person_weight=1.0,
    institution_weight=1.0,
    platform_weight=1.0,
    minimum_value=1.0,
    max_offers_per_lead=5,
    declined_cost=0.0,
    application_cost=0.0,
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
    "fee_share": 0.0,
    "monthly_fee_share": 0.0,
    "fee_money": 0.0,
    "monthly_fee_money": 0.0,
}


def value_pair(weights: Value = WEIGHTS, **changes: Any) -> dict[str, Any]:
    connection = duckdb.connect(":memory:")
    connection.register("scored", pa.Table.from_pylist([PAIR | changes]))
    sql = value_sql(f"({suggest_apr_sql('scored')})", weights)
    (row,) = connection.sql(sql).to_arrow_table().to_pylist()
    return row


def test_the_suggested_price_follows_the_position_of_pd_in_the_band():
    assert value_pair()["suggested_apr"] == 0.13
    assert value_pair(pd=0.0)["suggested_apr"] == 0.08
    assert value_pair(pd=0.1)["suggested_apr"] == 0.18


def test_the_price_cap_lowers_the_highest_price():
    assert value_pair(price_cap=0.12)["suggested_apr"] == 0.1
    assert value_pair(price_cap=0.12, pd=0.1)["suggested_apr"] == 0.12


def test_a_price_of_many_digits_is_never_rounded_out_of_its_limits():
    assert value_pair(apr_min=0.080049, apr_max=0.080049)["suggested_apr"] == 0.080049


def test_a_product_without_a_band_prices_any_risk():
    assert value_pair(pd_min=None, pd_max=None, pd=0.5)["suggested_apr"] == 0.13


def test_a_band_of_one_point_gets_the_highest_price():
    assert value_pair(pd_min=0.05, pd_max=0.05)["suggested_apr"] == 0.18


@pytest.mark.parametrize(
    ("price_model", "price", "spend"),
    [("cpl", 20.0, 20.0), ("cpa", 150.0, 75.0), ("cps", 0.02, 80.0)],
)
def test_revenue_follows_the_price_model(price_model, price, spend):
    row = value_pair(price_model=price_model, price=price, exchange_rate=7.0)
    assert row["expected_spend"] == pytest.approx(spend)
    assert row["revenue"] == pytest.approx(spend * 7)


def test_the_person_benefit_is_the_saving_against_the_cap():
    cheaper = 0.24 - 0.13
    assert value_pair()["person_benefit"] == pytest.approx(0.5 * 0.8 * cheaper * 10_000 * 0.5)


def test_a_loan_dearer_than_the_outside_option_saves_nothing():
    assert value_pair(reference_apr=0.1)["person_benefit"] == 0


@pytest.mark.parametrize(
    ("fees", "money"),
    [
        ({"fee_share": 0.03}, 300),
        ({"monthly_fee_share": 0.002}, 240),
        ({"fee_money": 150.0}, 150),
        ({"monthly_fee_money": 9.0}, 108),
        ({"fee_share": 0.01, "monthly_fee_money": 5.0, "fee_money": 40.0}, 200),
    ],
)
def test_what_a_loan_costs_besides_its_interest_is_no_saving(fees, money):
    saved = (0.24 - 0.13) * 10_000 * 0.5 - money
    row = value_pair(**fees)
    assert row["person_benefit"] == pytest.approx(0.4 * saved)
    assert row["institution_margin"] == value_pair()["institution_margin"]


def test_a_low_rate_beside_high_fees_saves_nothing_and_ranks_below():
    low_rate = value_pair(apr_min=0.01, apr_max=0.01, fee_share=0.12)
    assert low_rate["person_benefit"] == 0
    assert low_rate["person_benefit"] < value_pair()["person_benefit"]


def test_a_declined_application_costs_the_person():
    costly = WEIGHTS.model_copy(update={"declined_cost": 4.0})
    saved = value_pair()["person_benefit"]
    assert value_pair(costly)["person_benefit"] == pytest.approx(saved - 0.5 * 4)


def test_an_application_costs_the_institution_approved_or_not():
    costly = WEIGHTS.model_copy(update={"application_cost": 6.0})
    margin = value_pair()["institution_margin"]
    assert value_pair(costly)["institution_margin"] == pytest.approx(margin - 6)
    assert value_pair(costly, p_approve=0.0)["institution_margin"] == -6


def test_the_institution_margin_is_interest_less_expected_loss():
    yield_after_costs = (0.13 - 0.03) * 0.5 - 0.05 * 0.6
    assert value_pair()["institution_margin"] == pytest.approx(0.4 * yield_after_costs * 10_000)


def test_value_is_the_surplus_of_person_and_institution_at_any_fee():
    row = value_pair()
    surplus = row["person_benefit"] + row["institution_margin"]
    assert row["expected_value"] == pytest.approx(surplus, abs=1e-4)
    for model, price in (("cpl", 500.0), ("cpa", 0.0), ("cps", 0.2)):
        assert value_pair(price_model=model, price=price)["expected_value"] == row["expected_value"]
    assert row["expected_cost"] == 3.0


def test_other_weights_move_the_fee_between_institution_and_platform():
    weights = {"person_weight": 0.5, "institution_weight": 0.1, "platform_weight": 2.0}
    row = value_pair(WEIGHTS.model_copy(update=weights), price=20.00004)
    parts = 0.5 * row["person_benefit"] + 2 * row["revenue"]
    parts += 0.1 * (row["institution_margin"] - row["revenue"])
    assert row["expected_value"] == round(parts, 4)


def test_a_lead_without_a_term_is_valued_at_the_longest():
    assert value_pair(term_months=None)["person_benefit"] == pytest.approx(
        3 * value_pair()["person_benefit"]
    )


def compute_fit(**changes: Any) -> float:
    """Return `person_fit` if no room costs 0.2 by amount and 0.1 by term."""
    rooms = {"amount_room_weight": 0.2, "term_room_weight": 0.1}
    row = value_pair(WEIGHTS.model_copy(update=rooms), **changes)
    without = value_pair(**changes)["person_benefit"]
    assert row["person_benefit"] == pytest.approx(row["person_fit"] * without)
    fit: float = row["person_fit"]
    return fit


def test_twice_the_amount_and_term_fit_fully():
    assert compute_fit(amount_max=20_000.0, term_max_months=24) == 1
    assert compute_fit(amount_max=90_000.0, term_max_months=60) == 1


def test_a_request_at_the_limits_of_a_product_fits_less():
    assert compute_fit(amount_max=10_000.0, term_max_months=24) == pytest.approx(0.8)
    assert compute_fit(amount_max=15_000.0, term_max_months=24) == pytest.approx(0.9)
    assert compute_fit(amount_max=20_000.0, term_max_months=12) == pytest.approx(0.9)
    assert compute_fit(amount_max=10_000.0, term_max_months=12) == pytest.approx(0.72)


def test_a_lead_without_a_term_fits_any_term():
    assert compute_fit(amount_max=20_000.0, term_months=None) == 1


def load_tables(settings: Settings) -> tuple[pa.Table, pa.Table]:
    """Return `pairs` and `funnel` as `match` loads them."""
    marts, pairs = (settings.day_folder(root, DAY) for root in (settings.marts, settings.pairs))
    with connect(settings) as connection:
        load_leads(connection, marts)
        load_products(connection, marts, DAY)
        load_pairs(connection, pairs, DAY)
        return (
            connection.sql("from pairs order by row").to_arrow_table(),
            connection.sql("from funnel order by all").to_arrow_table(),
        )


def set_weights(monkeypatch, **changes: float) -> None:
    changed = policy.value().model_copy(update=changes)
    monkeypatch.setattr(policy, "value", lambda: changed)


def test_the_same_weights_recompute_the_same_values(matched_home):
    folder = matched_home.day_folder(matched_home.pairs, DAY)
    pairs, funnel = load_tables(matched_home)
    stored = pq.read_table(folder / "pairs.parquet")
    least_odds = policy.least_odds(DAY)["default"].of_match
    stored = stored.filter(pc.greater_equal(stored["expected_value"], 1.0))
    stored = stored.filter(pc.greater_equal(stored["p_approve"], least_odds))
    assert len(stored) > 0
    assert pairs.drop(["row"]).equals(stored)
    assert pairs["row"].to_pylist() == list(range(len(stored)))
    assert funnel.equals(pq.read_table(folder / "funnel.parquet").cast(funnel.schema))


def test_other_weights_change_values_and_no_probability(matched_home, monkeypatch):
    before, _ = load_tables(matched_home)
    set_weights(monkeypatch, platform_weight=2.0)
    after, _ = load_tables(matched_home)
    assert len(after) >= len(before) > 0
    keys = ["channel_id", "lead_id", "institution_id", "product_id"]
    joined = before.join(after, keys, right_suffix="_after")
    gained = pc.subtract(joined["expected_value_after"], joined["expected_value"])
    assert pc.max(pc.abs(pc.subtract(gained, joined["revenue"]))).as_py() < 1e-3
    for name in ("pd", "p_approve", "p_fund", "suggested_apr"):
        assert joined[name].equals(joined[f"{name}_after"])


def test_a_higher_minimum_value_leaves_fewer_pairs_in_the_funnel(matched_home, monkeypatch):
    before, _ = load_tables(matched_home)
    least = pc.quantile(before["expected_value"], 0.5)[0].as_py()
    set_weights(monkeypatch, minimum_value=least)
    after, funnel = load_tables(matched_home)
    assert 0 < len(after) < len(before)
    assert pc.sum(funnel["low_value"]).as_py() == len(after)


def test_match_uses_new_weights_without_scoring_again(matched_copy, monkeypatch):
    scored = read_manifest(matched_copy.day_folder(matched_copy.pairs, DAY))["content_sha256"]
    before = match_day.match(matched_copy, DAY)["value"]
    set_weights(monkeypatch, person_weight=3.0, institution_weight=3.0, platform_weight=3.0)
    monkeypatch.setattr(
        policy, "version", lambda *without: VERSION(*without) if without else "other-weights"
    )
    after = match_day.match(matched_copy, DAY)
    assert after["value"] > 1.3 * before
    assert after["policy_version"] == "other-weights"
    assert (
        read_manifest(matched_copy.day_folder(matched_copy.pairs, DAY))["content_sha256"] == scored
    )


def test_match_refuses_pairs_of_another_scoring_policy(matched_copy, monkeypatch):
    monkeypatch.setattr(policy, "version", lambda *_: "another")
    with pytest.raises(InputMissing, match="policy_version_of_scoring"):
        match_day.match(matched_copy, DAY)
