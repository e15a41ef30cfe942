"""The budget of a product that pays per lead is a quota."""

import numpy as np

from pipelines.matches.budgets import affordable_quota

NONE = np.nan


def quota_of(quota: int, budget: float, price: float, *, is_per_lead: bool = True) -> int:
    return affordable_quota(
        np.array([quota]), np.array([budget]), np.array([price]), np.array([is_per_lead])
    ).item()


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
