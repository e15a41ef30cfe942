"""Budgets: a quota for those who pay per lead, a trim of the least valuable for the others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.matches.budgets import affordable_quota, within_budget

NONE = np.nan


def quota_of(quota: int, budget: float, price: float, *, is_per_lead: bool = True) -> int:
    return affordable_quota(
        np.array([quota]), np.array([budget]), np.array([price]), np.array([is_per_lead])
    ).item()


def kept(spend: list[float], budget: float, order: list[int]) -> list[bool]:
    product = np.zeros(len(spend), int)
    return within_budget(product, np.array(spend), np.array([budget]), np.array(order)).tolist()


def test_a_budget_pays_for_whole_leads():
    assert quota_of(10, 99.0, 20.0) == 4


def test_a_budget_that_is_an_exact_multiple_loses_no_lead_to_rounding():
    assert quota_of(5000, 300.0, 0.1) == 3000


def test_a_wide_budget_leaves_the_quota():
    assert quota_of(10, 1e9, 20.0) == 10


def test_no_budget_no_price_or_another_price_model_leave_the_quota():
    assert quota_of(10, NONE, 20.0) == 10
    assert quota_of(10, 50.0, 0.0) == 10
    assert quota_of(10, 50.0, 20.0, is_per_lead=False) == 10


def test_the_least_valuable_match_goes_first():
    assert kept([30.0, 30.0, 30.0], 60.0, order=[2, 0, 1]) == [True, False, True]


def test_a_cheaper_match_does_not_jump_the_queue():
    assert kept([50.0, 60.0, 1.0], 100.0, order=[0, 1, 2]) == [True, False, False]


def test_a_product_without_budget_keeps_all():
    assert kept([1e9, 1e9], NONE, order=[0, 1]) == [True, True]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100)), min_size=1, max_size=30),
    st.lists(st.floats(0, 200), min_size=4, max_size=4),
    st.randoms(),
)
def test_no_product_spends_more_than_its_budget_and_each_keeps_its_best(matches, budget, random):
    product = np.array([match[0] for match in matches])
    spend = np.array([match[1] for match in matches])
    order = list(range(len(matches)))
    random.shuffle(order)
    keeps = within_budget(product, spend, np.array(budget), np.array(order))
    for code, limit in enumerate(budget):
        assert spend[keeps & (product == code)].sum() <= limit + 1e-9
        in_order = [keeps[row] for row in order if product[row] == code]
        assert in_order == sorted(in_order, reverse=True)
        dropped = [row for row in order if product[row] == code and not keeps[row]]
        if dropped:
            with_next = spend[keeps & (product == code)].sum() + spend[dropped[0]]
            assert with_next > limit - 0.01 * len(matches)
