"""The promises of `allocate`: the best plan, within its limits, whoever comes first."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from pipelines.allocation import quota_flow
from pipelines.allocation.allocate import Candidates, Plan, allocate
from pipelines.bench.fixtures.instance import drawn
from pipelines.core.errors import Broken

PRODUCTS_OF_AN_INSTITUTION = 2


def candidates(*rows: tuple[int, int, float], lottery: list[int] | None = None) -> Candidates:
    """Return pairs of (lead, product, value); two products belong to each institution."""
    lead, product, value = (np.array(column) for column in zip(*rows, strict=True))
    return Candidates(
        lead=lead,
        institution=product // PRODUCTS_OF_AN_INSTITUTION,
        product=product,
        value=value.astype(float),
        lottery=np.array(lottery or range(len(rows))),
    )


def quota(*leads: int) -> np.ndarray:
    return np.array(leads, dtype=np.int64)


@st.composite
def markets(draw: st.DrawFn, most_leads: int = 6, most_products: int = 5, top: int = 9):
    """Draw a small market, with many equal values, quotas of 0 and several products a lender."""
    leads = draw(st.integers(1, most_leads))
    products = draw(st.integers(1, most_products))
    keys = [(lead, product) for lead in range(leads) for product in range(products)]
    chosen = draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    rows = [(*key, draw(st.integers(1, top))) for key in chosen]
    lottery = draw(
        st.lists(st.integers(0, 2**32 - 1), min_size=len(rows), max_size=len(rows), unique=True)
    )
    places = draw(st.lists(st.integers(0, 3), min_size=products, max_size=products))
    return candidates(*rows, lottery=lottery), quota(*places), draw(st.integers(1, 3))


def is_allowed(pairs: Candidates, chosen: np.ndarray, places: np.ndarray, most: int) -> bool:
    lead, institution = pairs.lead[chosen], pairs.institution[chosen]
    at_institutions = set(zip(lead.tolist(), institution.tolist(), strict=True))
    return bool(
        (np.bincount(pairs.product[chosen], minlength=len(places)) <= places).all()
        and (np.bincount(lead, minlength=1) <= most).all()
        and len(at_institutions) == len(lead)
    )


def best_value_of_all_subsets(pairs: Candidates, places: np.ndarray, most: int) -> float:
    rows = range(len(pairs.lead))
    subsets = (
        np.array(rows_chosen, dtype=int)
        for n in range(len(rows) + 1)
        for rows_chosen in combinations(rows, n)
    )
    return max(
        pairs.value[subset].sum() for subset in subsets if is_allowed(pairs, subset, places, most)
    )


def best_value_of_an_integer_solver(pairs: Candidates, places: np.ndarray, most: int) -> float:
    model = cp_model.CpModel()
    takes = [model.new_bool_var(str(row)) for row in range(len(pairs.lead))]

    def at_most(limit: int, rows: np.ndarray) -> None:
        model.add(sum(takes[row] for row in rows) <= int(limit))

    for lead in np.unique(pairs.lead):
        at_most(most, np.flatnonzero(pairs.lead == lead))
        for institution in np.unique(pairs.institution):
            both = (pairs.lead == lead) & (pairs.institution == institution)
            at_most(1, np.flatnonzero(both))
    for product, places_of_product in enumerate(places):
        at_most(places_of_product, np.flatnonzero(pairs.product == product))
    model.maximize(sum(int(value) * take for value, take in zip(pairs.value, takes, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return float(round(solver.objective_value))  # whole numbers, told as 13.000000000000002


@given(markets(most_leads=3, most_products=4))
@settings(max_examples=60, deadline=None)
def test_no_subset_of_the_pairs_is_worth_more(market):
    pairs, places, most = market
    plan = allocate(pairs, places, most_offers=most)
    assert plan.value == best_value_of_all_subsets(pairs, places, most)


@given(markets(most_leads=9, most_products=8, top=50))
@settings(max_examples=60, deadline=None)
def test_an_integer_solver_finds_the_same_value(market):
    pairs, places, most = market
    plan = allocate(pairs, places, most_offers=most)
    assert plan.value == best_value_of_an_integer_solver(pairs, places, most)


@given(markets(most_leads=9, most_products=8))
@settings(max_examples=150, deadline=None)
def test_limits_hold_and_the_bound_proves_the_plan(market):
    pairs, places, most = market
    plan = allocate(pairs, places, most_offers=most)
    assert is_allowed(pairs, plan.chosen, places, most)
    assert plan.value == pairs.value[plan.chosen].sum()
    assert (plan.bound, plan.gap) == (plan.value, 0)


@given(markets(), st.randoms())
@settings(max_examples=80, deadline=None)
def test_row_order_does_not_change_the_plan(market, random):
    pairs, places, most = market
    shuffled = list(range(len(pairs.lead)))
    random.shuffle(shuffled)
    first = allocate(pairs, places, most_offers=most).chosen
    second = allocate(pairs.take(np.array(shuffled)), places, most_offers=most).chosen
    assert first[shuffled].tolist() == second.tolist()


@given(markets(most_leads=3, most_products=4, top=2))
@settings(max_examples=60, deadline=None)
def test_the_lottery_decides_among_plans_of_equal_value(market):
    pairs, places, most = market
    plan = allocate(pairs, places, most_offers=most)
    rows = range(len(pairs.lead))
    equals = [
        pairs.lottery[list(subset)].sum()
        for n in range(len(rows) + 1)
        for subset in combinations(rows, n)
        if is_allowed(pairs, np.array(subset, dtype=int), places, most)
        and pairs.value[list(subset)].sum() == plan.value
    ]
    assert pairs.lottery[plan.chosen].sum() == max(equals)


@given(markets())
@settings(max_examples=80, deadline=None)
def test_the_price_of_quota_is_what_one_more_lead_adds(market):
    pairs, places, most = market
    plan = allocate(pairs, places, most_offers=most)
    for product, price in enumerate(plan.price_of_quota):
        wider = places.copy()
        wider[product] += 1
        assert allocate(pairs, wider, most_offers=most).value == plan.value + price


def both_ways(pairs: Candidates, places: np.ndarray, most: int) -> tuple[Plan, Plan]:
    """Return the plan by a flow of all leads, and by one of the contested leads alone."""
    plain = allocate(pairs, places, most_offers=most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quota_flow, "LARGE", 0)
        return plain, allocate(pairs, places, most_offers=most)


@given(markets(most_leads=30, most_products=8, top=50))
@settings(max_examples=150, deadline=None)
def test_leads_whose_choice_is_plain_may_be_left_out_of_the_flow(market):
    by_all, by_contested = both_ways(*market)
    assert by_contested.chosen.tobytes() == by_all.chosen.tobytes()
    assert by_contested.price_of_quota.tolist() == by_all.price_of_quota.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_a_middling_market_comes_out_the_same_without_its_plain_leads(seed):
    market = drawn(2_000, 8 * (seed + 1), 8, seed, most_offers=1 + seed % 3)
    assert len(market.candidates.lead) < quota_flow.LARGE
    by_all, by_contested = both_ways(market.candidates, market.quota, market.most_offers)
    assert by_contested.chosen.tobytes() == by_all.chosen.tobytes()
    assert by_contested.price_of_quota.tolist() == by_all.price_of_quota.tolist()
    assert by_contested.gap == 0


def test_the_best_pair_takes_the_last_place():
    plan = allocate(candidates((0, 0, 40.0), (1, 0, 90.0)), quota(1), most_offers=5)
    assert plan.chosen.tolist() == [False, True]
    assert plan.price_of_quota.tolist() == [40.0]


def test_greedy_choice_is_beaten_where_a_place_is_needed_elsewhere():
    greedy_takes = (0, 0, 10.0)
    better = [(0, 2, 9.0), (1, 0, 9.0)]
    plan = allocate(candidates(greedy_takes, *better), quota(1, 0, 1), most_offers=1)
    assert plan.chosen.tolist() == [False, True, True]


def test_a_lead_is_shown_an_institution_once_whatever_its_products():
    plan = allocate(candidates((0, 0, 10.0), (0, 1, 20.0)), quota(5, 5), most_offers=5)
    assert plan.chosen.tolist() == [False, True]


def test_no_pairs_make_an_empty_plan():
    nothing = Candidates(*(np.zeros(0, int),) * 3, np.zeros(0), np.zeros(0, int))
    plan = allocate(nothing, quota(3), most_offers=5)
    assert (plan.chosen.tolist(), plan.value, plan.bound, plan.gap) == ([], 0, 0, 0)


def test_values_too_large_for_fine_units_are_still_planned_well():
    pairs = candidates((0, 0, 3e13), (1, 0, 2e13), (1, 2, 1e13))
    plan = allocate(pairs, quota(1, 0, 1), most_offers=2)
    assert plan.chosen.tolist() == [True, False, True]
    assert plan.value == pytest.approx(4e13)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_pair_without_a_value_above_zero_is_refused(value):
    with pytest.raises(Broken, match="1 of 2 pairs have no value above 0"):
        allocate(candidates((0, 0, value), (1, 0, 1.0)), quota(1), most_offers=1)


def test_a_pair_that_is_there_twice_is_refused():
    with pytest.raises(Broken, match="1 pairs of lead and product are there twice"):
        allocate(candidates((0, 0, 1.0), (0, 0, 2.0)), quota(1), most_offers=1)
