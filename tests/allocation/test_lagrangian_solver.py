"""`allocate` with budgets, shares, floors and ratios: feasible, and near the exact optimum."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.allocation import lagrangian_solver, relaxation
from pipelines.allocation.random_instance import add_guarantees, generate_instance
from tests.helpers.small_allocation import draw_small_market, solve, solve_exactly


def compare_with_exact(seed: int) -> None:
    market, limits = draw_small_market(seed)
    plan = solve(market, limits)
    best = solve_exactly(market, limits, plan)
    fees = round(100 * float(plan.shortfall["floor_fees"][0]))
    leads = sum(int(each.sum()) for name, each in plan.shortfall.items() if name != "floor_fees")
    floor = market.guarantees.fees * 100
    assert market.count_violations(plan, limits) == 0
    assert plan.min_shortfall <= best.missed_leads == leads, f"seed {seed}"
    assert plan.min_money_shortfall * 100 <= best.missed_money + 1e-6, f"seed {seed}"
    assert fees <= best.missed_money + 0.01 * (floor - best.missed_money) + 1, f"seed {seed}"
    assert plan.value <= plan.bound + 1e-3
    assert best.value <= plan.bound + 1e-3
    assert plan.value == pytest.approx(best.value, abs=1e-3), f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_small_plans_equal_the_exact_optimum(first):
    for seed in range(first, first + 10):
        compare_with_exact(seed)


@pytest.mark.prove
def test_two_thousand_small_plans_equal_the_exact_optimum():
    for seed in range(2_000):
        compare_with_exact(seed)


def test_parts_threads_and_order_of_leads_do_not_change_the_plan():
    market = generate_instance(3_000, 60, 12, seed=3, max_offers=3)
    plan = solve(market, market.limits())
    for how in ({"parts": 2}, {"parts": 8, "threads": 2}):
        again = solve(market, market.limits(), **how)
        assert again.chosen.tobytes() == plan.chosen.tobytes()
        assert (again.bound, again.prices["budget"].tobytes()) == (
            plan.bound,
            plan.prices["budget"].tobytes(),
        )
    order = np.random.default_rng(1).permutation(len(market.spend))
    renamed = np.random.default_rng(2).permutation(3_000)
    pairs = replace(market.candidates, lead=renamed[market.candidates.lead]).take(order)
    shuffled = replace(
        market, candidates=pairs, spend=market.spend[order], channel=market.channel[order]
    )
    assert (solve(shuffled, shuffled.limits()).chosen == plan.chosen[order]).all()


def test_gap_of_a_medium_market_is_below_a_fifth_of_a_percent():
    market = generate_instance(3_000, 60, 12, seed=4, max_offers=3)
    plan = solve(market, market.limits())
    assert market.count_violations(plan, market.limits()) == 0
    assert 0 < plan.gap < 0.002


def test_prices_over_some_of_the_pairs_certify_the_plan_of_all(monkeypatch):
    market = add_guarantees(generate_instance(700, 30, 25, seed=6, max_offers=3), 6)
    limits = market.limits()
    monkeypatch.setattr(lagrangian_solver, "MAX_CHOSEN", 0)
    whole = solve(market, limits)
    monkeypatch.setattr(relaxation, "COLUMNS_FROM", 0)
    searched = []
    search_prices = relaxation.Relaxation._search_prices

    def watch(self, leads, *further):
        searched.append(sum(np.isfinite(block.value).sum() for block in leads._blocks))
        return search_prices(self, leads, *further)

    monkeypatch.setattr(relaxation.Relaxation, "_search_prices", watch)
    plan = solve(market, limits)
    assert max(searched) < 0.6 * len(market.spend)
    assert market.count_violations(plan, limits) == market.count_violations(whole, limits) == 0
    assert plan.bound == pytest.approx(whole.bound, rel=1e-3)
    assert plan.bound > whole.value
    assert plan.value == pytest.approx(whole.value, rel=2e-3)
    monkeypatch.setattr(relaxation, "PRICED_PAIRS", 999)
    again = solve(market, limits)
    assert (again.chosen.tobytes(), again.bound) == (plan.chosen.tobytes(), plan.bound)


def test_shadow_prices_predict_the_change_of_the_bound():
    market = generate_instance(3_000, 30, 12, seed=5, max_offers=3)
    plan = solve(market, market.limits())
    priced = np.flatnonzero((plan.prices["budget"] > 0) & np.isfinite(market.budget))
    assert len(priced), "no budget binds, so the test would check nothing"
    more = 0.02 * market.budget[priced]
    wider = market.budget.copy()
    wider[priced] += more
    richer = replace(market, budget=wider)
    gained = solve(richer, richer.limits()).bound - plan.bound
    assert gained == pytest.approx((more * plan.prices["budget"][priced]).sum(), rel=0.15)
    quota = np.ceil(market.quota * 1.02).astype(np.int64)
    larger = replace(market, quota=quota)
    gained = solve(larger, market.limits()).bound - plan.bound
    predicted = ((quota - market.quota) * plan.price_of_quota).sum()
    assert gained == pytest.approx(predicted, rel=0.15)
