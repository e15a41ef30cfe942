"""Ratio rows and the floor in money, where they are hardest: signs, scales, infeasible floors."""

import numpy as np
import pytest

from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import (
    Limit,
    PairColumns,
    build_money_floor,
    build_ratio_limit,
)

LEADS = 40


def pairs_of_products(products: int, value: np.ndarray) -> PairColumns:
    """Return a pair of each lead with each product, each of its own institution."""
    leads = len(value) // products
    product = np.tile(np.arange(products), leads)
    return PairColumns(
        lead=np.repeat(np.arange(leads), products),
        institution=product,
        product=product,
        value=value.astype(float),
        tie_break_key=np.random.default_rng(1).permutation(len(value)),
    )


def least_rate(pairs: PairColumns, chance: np.ndarray, rate: list[float]) -> Limit:
    minus_one = -np.ones(len(chance))
    return build_ratio_limit("approval_rate", pairs.product, -chance, minus_one, np.array(rate))


def plan_with(pairs: PairColumns, *limits: Limit, quota: int = LEADS, offers: int = 1) -> Plan:
    products = int(pairs.product.max()) + 1
    plan = allocate(pairs, np.full(products, quota), max_offers=offers, limits=limits)
    assert sum(limit.count_violations(plan.rows) for limit in limits) == 0
    assert plan.value <= plan.bound + 1e-6
    return plan


def test_a_product_whose_pairs_all_violate_its_ratio_stays_empty():
    pairs = pairs_of_products(2, np.arange(1, 2 * LEADS + 1))
    chance = np.where(pairs.product == 0, 0.1, 0.5)
    plan = plan_with(pairs, least_rate(pairs, chance, [0.2, 0.2]))
    assert (pairs.product[plan.rows] == 1).all()
    assert len(plan.rows) == LEADS


@pytest.mark.parametrize("chance", [0.1, 1 / 3, 1e-7, 0.7])
def test_pairs_exactly_at_the_mean_are_not_closed_by_rounding(chance):
    pairs = pairs_of_products(1, np.arange(1, LEADS + 1))
    chances = np.full(LEADS, chance)
    plan = plan_with(pairs, least_rate(pairs, chances, [chances.sum() / LEADS]))
    assert len(plan.rows) == LEADS


def test_one_pair_of_negative_use_makes_a_row_feasible():
    pairs = pairs_of_products(1, np.where(np.arange(LEADS) == 0, 1.0, 50.0))
    chance = np.where(np.arange(LEADS) == 0, 0.5, 0.191)
    plan = plan_with(pairs, least_rate(pairs, chance, [0.2]))
    assert plan.chosen[0]
    assert len(plan.rows) == 34  # 0.3 above the rate pay for 33 pairs 0.009 below it
    assert plan.value == 1 + 33 * 50


def test_a_ratio_holds_in_numbers_and_not_only_in_integers():
    rng = np.random.default_rng(5)
    pairs = pairs_of_products(4, rng.uniform(1, 9, 4 * LEADS))
    fee, funded = rng.lognormal(3, 1, 4 * LEADS), rng.uniform(0, 0.3, 4 * LEADS)
    ratio = np.array([100.0, 300.0, np.inf, np.nan])
    limit = build_ratio_limit("cost_per_funded", pairs.product, fee, funded, ratio)
    rows = plan_with(pairs, limit, offers=2).rows
    for product in (0, 1):
        inside = rows[pairs.product[rows] == product]
        assert fee[inside].sum() <= ratio[product] * funded[inside].sum() * (1 + 1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e9])
def test_scales_of_value_and_use_change_no_choice(scale):
    rng = np.random.default_rng(6)
    value, chance = rng.integers(1, 99, 3 * LEADS), rng.uniform(0, 1, 3 * LEADS)
    pairs, scaled = pairs_of_products(3, value), pairs_of_products(3, value * max(scale, 1e-3))
    plan = plan_with(pairs, least_rate(pairs, chance, [0.5] * 3))
    limit = build_ratio_limit(
        "scaled", pairs.product, -chance * scale, np.full(len(chance), -scale), np.full(3, 0.5)
    )
    again = plan_with(scaled, limit)
    assert again.value == pytest.approx(plan.value * max(scale, 1e-3), rel=2e-3)


def test_all_values_equal():
    rng = np.random.default_rng(7)
    pairs = pairs_of_products(3, np.full(3 * LEADS, 5))
    money = rng.uniform(0, 9, 3 * LEADS)
    best = money.reshape(-1, 3).max(axis=1).sum()
    plan = plan_with(pairs, build_money_floor("fees", money, 0.9 * best))
    assert plan.value == 5 * LEADS
    assert money[plan.rows].sum() >= 0.9 * best


def test_a_product_with_one_pair_has_it_if_it_holds_the_ratio():
    pairs = pairs_of_products(1, np.array([3.0]))
    assert len(plan_with(pairs, least_rate(pairs, np.array([0.3]), [0.3])).rows) == 1
    assert len(plan_with(pairs, least_rate(pairs, np.array([0.3]), [0.4])).rows) == 0


def test_a_floor_above_all_fees_is_missed_by_little_more_than_it_has_to_be():
    rng = np.random.default_rng(8)
    value, money = rng.uniform(1, 9, 3 * LEADS), np.floor(rng.uniform(0, 900, 3 * LEADS)) / 100
    most = money.reshape(-1, 3).max(axis=1).sum()
    pairs = pairs_of_products(3, value)
    plan = plan_with(pairs, build_money_floor("fees", money, 2 * most))
    missed = float(plan.shortfall["floor_fees"][0])
    assert missed == pytest.approx(2 * most - money[plan.rows].sum())
    assert plan.min_money_shortfall <= most + 1e-6
    assert missed <= most + 0.01 * most + 0.02
    richest = value.reshape(-1, 3)[np.arange(LEADS), money.reshape(-1, 3).argmax(axis=1)].sum()
    assert plan.value > richest  # value isn't destroyed for the last hundredth


def test_a_floor_is_met_at_any_price_if_a_plan_can():
    value = np.tile([1000.0, 1.0], LEADS)
    money = np.tile([1.0, 1.01], LEADS)
    pairs = pairs_of_products(2, value)
    plan = plan_with(pairs, build_money_floor("fees", money, 1.01 * LEADS))
    assert plan.shortfall["floor_fees"].tolist() == [0]
    assert (pairs.product[plan.rows] == 1).all()


def test_the_price_of_the_floor_is_what_the_last_unit_of_money_costs():
    value = np.tile([10.0, 4.0], LEADS)
    money = np.tile([1.0, 3.0], LEADS)
    plan = plan_with(pairs_of_products(2, value), build_money_floor("fees", money, 2.0 * LEADS))
    assert plan.prices["floor_fees"] == pytest.approx([3.0], rel=0.01)
    assert plan.value == pytest.approx(7.0 * LEADS)


def test_the_order_of_rows_is_irrelevant():
    rng = np.random.default_rng(9)
    value, chance = rng.uniform(1, 99, 3 * LEADS), rng.uniform(0, 1, 3 * LEADS)
    money = rng.uniform(0, 9, 3 * LEADS)
    order = rng.permutation(3 * LEADS)
    pairs = pairs_of_products(3, value)
    limits = least_rate(pairs, chance, [0.6] * 3), build_money_floor("fees", money, 200)
    plan = plan_with(pairs, *limits)
    shuffled = plan_with(pairs.take(order), *(limit.take(order) for limit in limits))
    assert (shuffled.chosen == plan.chosen[order]).all()
    assert shuffled.prices["approval_rate"].tobytes() == plan.prices["approval_rate"].tobytes()
