"""`allocate` with quotas alone: optimal, feasible, independent of row order."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from pipelines.allocation import quota_flow
from pipelines.allocation.allocate import Plan, allocate
from pipelines.allocation.problem import PairColumns
from pipelines.allocation.random_instance import generate_instance
from pipelines.core.arrays import BoolArray, IntArray
from pipelines.core.errors import IntegrityError

PRODUCTS_OF_AN_INSTITUTION = 2


def pairs_of(*rows: tuple[int, int, float], keys: list[int] | None = None) -> PairColumns:
    """Return pairs of (lead, product, value); two products belong to each institution."""
    lead, product, value = (np.array(column) for column in zip(*rows, strict=True))
    return PairColumns(
        lead=lead,
        institution=product // PRODUCTS_OF_AN_INSTITUTION,
        product=product,
        value=value.astype(float),
        tie_break_key=np.array(keys or range(len(rows))),
    )


def quota(*leads: int) -> IntArray:
    return np.array(leads, dtype=np.int64)


@st.composite
def markets(draw: st.DrawFn, max_leads: int = 6, max_products: int = 5, top: int = 9):
    """Draw a small market with many equal values, quotas of 0 and two products per institution."""
    leads = draw(st.integers(1, max_leads))
    products = draw(st.integers(1, max_products))
    keys = [(lead, product) for lead in range(leads) for product in range(products)]
    chosen = draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    rows = [(*key, draw(st.integers(1, top))) for key in chosen]
    keys_drawn = draw(
        st.lists(st.integers(0, 2**32 - 1), min_size=len(rows), max_size=len(rows), unique=True)
    )
    quotas = draw(st.lists(st.integers(0, 3), min_size=products, max_size=products))
    return pairs_of(*rows, keys=keys_drawn), quota(*quotas), draw(st.integers(1, 3))


def is_feasible(
    pairs: PairColumns, chosen: IntArray | BoolArray, quotas: IntArray, most: int
) -> bool:
    lead, institution = pairs.lead[chosen], pairs.institution[chosen]
    lead_institutions = set(zip(lead.tolist(), institution.tolist(), strict=True))
    return bool(
        (np.bincount(pairs.product[chosen], minlength=len(quotas)) <= quotas).all()
        and (np.bincount(lead, minlength=1) <= most).all()
        and len(lead_institutions) == len(lead)
    )


def best_value_by_enumeration(pairs: PairColumns, quotas: IntArray, most: int) -> float:
    rows = range(len(pairs.lead))
    subsets = (
        np.array(rows_chosen, dtype=int)
        for n in range(len(rows) + 1)
        for rows_chosen in combinations(rows, n)
    )
    return max(
        pairs.value[subset].sum() for subset in subsets if is_feasible(pairs, subset, quotas, most)
    )


def best_value_by_integer_solver(pairs: PairColumns, quotas: IntArray, most: int) -> float:
    model = cp_model.CpModel()
    takes = [model.new_bool_var(str(row)) for row in range(len(pairs.lead))]

    def at_most(limit: int, rows: IntArray) -> None:
        model.add(sum(takes[row] for row in rows) <= int(limit))

    for lead in np.unique(pairs.lead):
        at_most(most, np.flatnonzero(pairs.lead == lead))
        for institution in np.unique(pairs.institution):
            both = (pairs.lead == lead) & (pairs.institution == institution)
            at_most(1, np.flatnonzero(both))
    for product, quota_of_product in enumerate(quotas):
        at_most(quota_of_product, np.flatnonzero(pairs.product == product))
    model.maximize(sum(int(value) * take for value, take in zip(pairs.value, takes, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return float(round(solver.objective_value))  # an integer, returned as 13.000000000000002


@given(markets(max_leads=3, max_products=4))
@settings(max_examples=60, deadline=None)
def test_value_equals_the_best_of_all_subsets(market):
    pairs, quotas, most = market
    plan = allocate(pairs, quotas, max_offers=most)
    assert plan.value == best_value_by_enumeration(pairs, quotas, most)


@given(markets(max_leads=9, max_products=8, top=50))
@settings(max_examples=60, deadline=None)
def test_value_equals_that_of_an_integer_solver(market):
    pairs, quotas, most = market
    plan = allocate(pairs, quotas, max_offers=most)
    assert plan.value == best_value_by_integer_solver(pairs, quotas, most)


@given(markets(max_leads=4, max_products=3), st.data())
@settings(max_examples=60, deadline=None)
def test_leads_that_share_offers_get_the_offers_of_one(market, data):
    pairs, quotas, most = market
    first = np.array(data.draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)))
    shared = replace(pairs, lead=first[pairs.lead], sharing_lead=pairs.lead)
    plan = allocate(shared, quotas, max_offers=most)
    assert is_feasible(shared, plan.chosen, quotas, most)
    assert plan.value == best_value_by_enumeration(shared, quotas, most)
    assert (plan.bound, plan.gap) == (plan.value, 0)


def test_a_pair_of_one_lead_twice_is_an_error_also_where_leads_share_offers():
    pairs = pairs_of((0, 0, 1), (0, 0, 2), (0, 0, 3))
    with pytest.raises(IntegrityError, match="1 pairs of lead and product occur twice"):
        allocate(replace(pairs, sharing_lead=np.array([0, 1, 0])), quota(9), max_offers=5)


@given(markets(max_leads=9, max_products=8))
@settings(max_examples=150, deadline=None)
def test_plan_is_feasible_and_its_gap_is_zero(market):
    pairs, quotas, most = market
    plan = allocate(pairs, quotas, max_offers=most)
    assert is_feasible(pairs, plan.chosen, quotas, most)
    assert plan.value == pairs.value[plan.chosen].sum()
    assert (plan.bound, plan.gap) == (plan.value, 0)


@given(markets(), st.randoms())
@settings(max_examples=80, deadline=None)
def test_row_order_does_not_change_the_plan(market, random):
    pairs, quotas, most = market
    shuffled = list(range(len(pairs.lead)))
    random.shuffle(shuffled)
    first = allocate(pairs, quotas, max_offers=most).chosen
    second = allocate(pairs.take(np.array(shuffled)), quotas, max_offers=most).chosen
    assert first[shuffled].tolist() == second.tolist()


@given(markets(max_leads=3, max_products=4, top=2))
@settings(max_examples=60, deadline=None)
def test_tie_break_keys_decide_between_plans_of_equal_value(market):
    pairs, quotas, most = market
    plan = allocate(pairs, quotas, max_offers=most)
    rows = range(len(pairs.lead))
    sums_of_keys = [
        pairs.tie_break_key[list(subset)].sum()
        for n in range(len(rows) + 1)
        for subset in combinations(rows, n)
        if is_feasible(pairs, np.array(subset, dtype=int), quotas, most)
        and pairs.value[list(subset)].sum() == plan.value
    ]
    assert pairs.tie_break_key[plan.chosen].sum() == max(sums_of_keys)


@given(markets())
@settings(max_examples=80, deadline=None)
def test_price_of_quota_is_the_value_of_one_more_lead(market):
    pairs, quotas, most = market
    plan = allocate(pairs, quotas, max_offers=most)
    for product, price in enumerate(plan.price_of_quota):
        wider = quotas.copy()
        wider[product] += 1
        assert allocate(pairs, wider, max_offers=most).value == plan.value + price


def plan_both_ways(pairs: PairColumns, quotas: IntArray, most: int) -> tuple[Plan, Plan]:
    """Return the plan by a flow of all leads, and by the core problem."""
    whole = allocate(pairs, quotas, max_offers=most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quota_flow, "CORE_PROBLEM_FROM", 0)
        return whole, allocate(pairs, quotas, max_offers=most)


@given(markets(max_leads=30, max_products=8, top=50))
@settings(max_examples=150, deadline=None)
def test_core_problem_gives_the_plan_and_prices_of_the_whole_flow(market):
    whole, core = plan_both_ways(*market)
    assert core.chosen.tobytes() == whole.chosen.tobytes()
    assert core.price_of_quota.tolist() == whole.price_of_quota.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_core_problem_gives_the_plan_where_more_pairs_are_equal_than_a_lead_may_take(
    seed, monkeypatch
):
    monkeypatch.setattr(quota_flow, "NEAR_ZERO", 0.0)  # no lead is free to begin with
    market = generate_instance(400, 40, 30, seed, max_offers=3)
    lead_value = np.random.default_rng(seed).lognormal(3, 0.5, 400)
    pairs = replace(market.candidates, value=lead_value[market.candidates.lead])
    whole, core = plan_both_ways(pairs, market.quota // 2, market.max_offers)
    assert (core.value, core.gap) == (whole.value, 0)


@pytest.mark.parametrize("seed", range(6))
def test_core_problem_gives_the_plan_of_a_medium_market(seed):
    market = generate_instance(2_000, 8 * (seed + 1), 8, seed, max_offers=1 + seed % 3)
    assert len(market.candidates.lead) < quota_flow.CORE_PROBLEM_FROM
    whole, core = plan_both_ways(market.candidates, market.quota, market.max_offers)
    assert core.chosen.tobytes() == whole.chosen.tobytes()
    assert core.price_of_quota.tolist() == whole.price_of_quota.tolist()
    assert core.gap == 0


def test_best_pair_takes_the_last_unit_of_quota():
    plan = allocate(pairs_of((0, 0, 40.0), (1, 0, 90.0)), quota(1), max_offers=5)
    assert plan.chosen.tolist() == [False, True]
    assert plan.price_of_quota.tolist() == [40.0]


def test_plan_beats_the_greedy_choice():
    greedy_choice = (0, 0, 10.0)
    better = [(0, 2, 9.0), (1, 0, 9.0)]
    plan = allocate(pairs_of(greedy_choice, *better), quota(1, 0, 1), max_offers=1)
    assert plan.chosen.tolist() == [False, True, True]


def test_lead_gets_one_product_of_an_institution():
    plan = allocate(pairs_of((0, 0, 10.0), (0, 1, 20.0)), quota(5, 5), max_offers=5)
    assert plan.chosen.tolist() == [False, True]


def test_no_pairs_give_an_empty_plan():
    no_pairs = PairColumns(*(np.zeros(0, int),) * 3, np.zeros(0), np.zeros(0, int))
    plan = allocate(no_pairs, quota(3), max_offers=5)
    assert (plan.chosen.tolist(), plan.value, plan.bound, plan.gap) == ([], 0, 0, 0)


def test_values_too_large_for_fine_units_use_coarser_units():
    pairs = pairs_of((0, 0, 3e13), (1, 0, 2e13), (1, 2, 1e13))
    plan = allocate(pairs, quota(1, 0, 1), max_offers=2)
    assert plan.chosen.tolist() == [True, False, True]
    assert plan.value == pytest.approx(4e13)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_pair_without_a_positive_value_is_an_error(value):
    with pytest.raises(IntegrityError, match="1 of 2 pairs have no value above 0"):
        allocate(pairs_of((0, 0, value), (1, 0, 1.0)), quota(1), max_offers=1)


def test_duplicate_pair_is_an_error():
    with pytest.raises(IntegrityError, match="1 pairs of lead and product occur twice"):
        allocate(pairs_of((0, 0, 1.0), (0, 0, 2.0)), quota(1), max_offers=1)


@pytest.mark.parametrize("value", [1e9, 1e15, 1e300])
def test_one_huge_number_never_stops_the_plan_of_the_others(value):
    pairs = pairs_of((0, 0, 5.0), (1, 0, 7.0), (2, 2, value), (3, 4, 3.0))
    plan = allocate(pairs, quota(2**63 - 1, 1, 2**63 - 1, 1, 1), max_offers=1)
    assert plan.chosen[2]
    assert plan.value == pytest.approx(float(pairs.value.sum()), rel=1e-6)
    assert (plan.price_of_quota[[0, 2]] == 0).all()


def test_an_unlimited_quota_changes_neither_plan_nor_prices():
    rows = [(lead, product, 10.0 + lead * product) for lead in range(5) for product in (0, 2, 4)]
    plans = [
        allocate(pairs_of(*rows), quota(most, 0, 2, 0, 1), max_offers=2)
        for most in (5, 6, 10_000_000, 2**63 - 1)
    ]
    for plan in plans[1:]:
        assert plan.rows.tolist() == plans[0].rows.tolist()
        assert plan.prices["quota"].tolist() == plans[0].prices["quota"].tolist()
        assert plan.bound == plans[0].bound
