"""Column generation: pricing problems solved exactly, valid bounds, and better plans."""

from dataclasses import replace

import numpy as np
import pytest
from ortools.sat.python import cp_model

from pipelines.allocation import column_generation, lagrangian_solver, pricing_problem, relaxation
from pipelines.allocation.moves import RestrictedProblem
from pipelines.allocation.pricing_problem import Columns, PricingProblems, join_columns
from pipelines.allocation.problem import Limit, build_quota_limit
from pipelines.allocation.random_instance import (
    RandomInstance,
    add_guarantees,
    generate_instance,
)
from pipelines.allocation.relaxation import Relaxation, SolverOptions, choose_penalties
from tests.helpers.small_allocation import draw_small_market, solve, solve_exactly

NO_COLUMNS = Columns(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(1, np.int64))


def build_pricing_problems(seed: int) -> tuple[PricingProblems, RestrictedProblem, np.ndarray]:
    """Return pricing problems with quotas, budgets, channels and ratios, and random profits."""
    market = add_guarantees(generate_instance(60, 12, 6, seed, 3), seed)
    pairs = market.candidates
    limits = (build_quota_limit(pairs.product, market.quota), *market.limits())
    whole = Relaxation(pairs, limits, 3, SolverOptions())
    none = [np.zeros(len(limit.upper)) for limit in limits]
    problem = whole.price_all_pairs(pairs.value, none, choose_penalties(limits, pairs.value))
    rng = np.random.default_rng([seed, 3])
    return PricingProblems(problem), problem, problem.value - rng.uniform(0, 60, len(problem.value))


def find_best_set(problem: RestrictedProblem, profit: np.ndarray, product: int) -> float:
    """Return the greatest profit of a set of one product's pairs, by CP-SAT."""
    pairs = np.flatnonzero(problem.limits[0].row == product)
    model = cp_model.CpModel()
    takes = {pair: model.new_bool_var("") for pair in pairs.tolist()}
    for limit in problem.limits:
        for row in [] if limit.is_floor else np.unique(limit.row[pairs]).tolist():
            inside = [pair for pair in takes if limit.row[pair] == row]
            if row < len(limit.upper) and np.isfinite(limit.upper[row]):
                use = limit.pair_use(np.array(inside)).astype(int).tolist()
                total = sum(u * takes[pair] for u, pair in zip(use, inside, strict=True))
                model.add(total <= int(limit.upper[row]))
    cents = np.rint(profit * 1e6).astype(int).tolist()
    model.maximize(sum(cents[pair] * take for pair, take in takes.items()))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return solver.objective_value / 1e6


@pytest.mark.parametrize("seed", range(4))
def test_pricing_problems_are_solved_exactly(seed, monkeypatch):
    pricing, problem, profit = build_pricing_problems(seed)
    best = [find_best_set(problem, profit, product) for product in range(pricing.products)]
    first = pricing.solve(profit, NO_COLUMNS, most=3, tolerance=0.0)
    assert (first.bound >= np.array(best) - 1e-4).all()
    second = pricing.solve(profit, first.columns, most=3, tolerance=0.0)
    result = replace(second, columns=join_columns([first.columns, second.columns]))
    assert result.bound == pytest.approx(best, abs=1e-4)
    attained = np.zeros(pricing.products)
    np.maximum.at(attained, result.columns.product, result.columns.total(profit))
    assert attained == pytest.approx(best, abs=1e-4)
    for column in range(len(result.columns.product)):
        pairs = result.columns.take(np.array([column])).pairs
        assert (problem.limits[0].row[pairs] == result.columns.product[column]).all()
        assert not sum(limit.count_violations(pairs) for limit in problem.limits)
    monkeypatch.setattr(pricing_problem, "WIDTHS", (1, 2))
    short = pricing.solve(profit, NO_COLUMNS, most=3, tolerance=0.0).bound
    assert (short >= np.array(best) - 1e-4).all()
    assert short.sum() > sum(best) + 1, "nothing was dropped, so the test checks nothing"


def use_column_generation(monkeypatch) -> None:
    """Let small plans be improved by column generation in place of the integer solver."""
    monkeypatch.setattr(lagrangian_solver, "SMALL", 0)
    monkeypatch.setattr(lagrangian_solver, "TARGET_GAP", 0.0)
    monkeypatch.setattr(relaxation, "polish", lambda _, plan, *__, **___: plan)


def test_small_plans_are_within_the_certified_gap_of_the_exact_optimum(monkeypatch):
    use_column_generation(monkeypatch)
    lower, equal, compared = 0, 0, 0
    for seed in range(20):
        market, limits = draw_small_market(seed)
        plan = solve(market, limits)
        assert market.count_violations(plan, limits) == 0
        best = solve_exactly(market, limits, plan)
        missed = sum(each.sum() for name, each in plan.shortfall.items() if name != "floor_fees")
        if missed > best.missed_leads:
            continue  # without the integer solver a plan may miss more leads than it has to
        compared += 1
        assert plan.value <= best.value + 1e-3, f"seed {seed}"
        assert best.value <= plan.bound + 1e-3, f"seed {seed}"
        lower += plan.bound < plan.linear_bound - 1e-3
        equal += plan.value > best.value - 1e-3
    assert compared > 15
    assert lower > 5, "column generation lowered hardly any bound"
    assert equal > 0.9 * compared


def draw_small_quotas() -> tuple[RandomInstance, tuple[Limit, ...]]:
    """Return products that take four leads each; fees have a floor that binds."""
    market = add_guarantees(generate_instance(150, 100, 40, 1, 4), 1, fee_floor=1.0)
    return market, market.limits()


def test_few_leads_a_product_leave_a_small_gap(monkeypatch):
    market, limits = draw_small_quotas()
    plan = solve(market, limits)
    assert market.count_violations(plan, limits) == 0
    assert plan.shortfall["floor_fees"][0] == 0
    assert plan.prices["floor_fees"][0] > 0, "the floor doesn't bind, so it isn't a shared row"
    assert plan.gap < 0.002
    assert plan.bound < 0.995 * plan.linear_bound
    monkeypatch.setattr(lagrangian_solver, "MAX_CHOSEN", 0)
    before = solve(market, limits)
    assert before.gap > 5 * plan.gap
    assert plan.value > before.value


def test_generated_columns_are_the_same_in_any_order_of_the_leads(monkeypatch):
    monkeypatch.setattr(column_generation, "MAX_ROUNDS", 3)
    market, limits = draw_small_quotas()
    limits = limits[:2]
    plan = solve(market, limits)
    assert plan.bound < plan.linear_bound, "columns were not generated"
    order = np.random.default_rng(1).permutation(len(market.spend))
    renamed = np.random.default_rng(2).permutation(150)
    pairs = replace(market.candidates, lead=renamed[market.candidates.lead]).take(order)
    shuffled = replace(
        market,
        candidates=pairs,
        spend=market.spend[order],
        channel=market.channel[order],
        guarantees=None,
    )
    again = solve(shuffled, shuffled.limits())
    assert (again.chosen == plan.chosen[order]).all()
    assert again.bound == plan.bound
