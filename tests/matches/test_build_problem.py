"""The budget of a product that pays per lead is a quota."""

import numpy as np

from pipelines.matches.build_problem import compute_affordable_quota

UNLIMITED = np.nan


def affordable(quota: int, budget: float, price: float, *, is_per_lead: bool = True) -> int:
    return compute_affordable_quota(
        np.array([quota]), np.array([budget]), np.array([price]), np.array([is_per_lead])
    ).item()


def test_a_budget_pays_for_whole_leads():
    assert affordable(10, 99.0, 20.0) == 4


def test_budget_that_is_an_exact_multiple_loses_no_lead_to_rounding():
    assert affordable(5000, 300.0, 0.1) == 3000


def test_large_budget_leaves_the_quota():
    assert affordable(10, 1e9, 20.0) == 10


def test_no_budget_no_price_or_another_price_model_leave_the_quota():
    assert affordable(10, UNLIMITED, 20.0) == 10
    assert affordable(10, 50.0, 0.0) == 10
    assert affordable(10, 50.0, 20.0, is_per_lead=False) == 10
