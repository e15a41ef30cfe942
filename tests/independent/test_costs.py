"""The independent cost of a loan is the one that simple loans have."""

import pytest

from tests.independent.costs import find_annual_cost

SHARE = {"basis": "share_of_balance", "value": "0.001", "when": "each_period"}
SHARE |= {"is_contingent": "False"}


@pytest.mark.parametrize("repayment", ["", "equal_principal", "interest_first", "bullet"])
def test_a_loan_without_fees_costs_its_rate(repayment):
    assert find_annual_cost(9_000, 24, 0.24, repayment, []) == pytest.approx(0.24)


def test_a_share_of_the_balance_is_added_to_the_rate():
    assert find_annual_cost(9_000, 24, 0.18, "", [SHARE]) == pytest.approx(0.192)
    late = SHARE | {"when": "on_default", "is_contingent": "true"}
    assert find_annual_cost(9_000, 24, 0.18, "", [SHARE, late]) == pytest.approx(0.192)


def test_a_fee_before_the_loan_is_paid_out_lowers_what_the_person_gets():
    fee = SHARE | {"basis": "fixed", "value": "50", "when": "upfront"}
    # 1,200 after a month for 1,000, of which 50 are kept
    found = find_annual_cost(1_000, 1, 2.4, "", [fee])
    assert found == pytest.approx(12 * (1_200 / 950 - 1))
