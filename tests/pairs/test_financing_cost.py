"""The annual cost of a loan equals the directive's examples and an independent library."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pyxirr

from pipelines.pairs.financing_cost import (
    CHARGES,
    EQUAL_INSTALMENTS,
    MONTHS,
    Charges,
    Loans,
    compute_costs,
    find_least_amounts,
    solve_rate,
)

REPAYMENTS = np.array([EQUAL_INSTALMENTS, "equal_principal", "interest_first", "bullet"])


def make_loans(count: int, *, seed: int = 5) -> Loans:
    """Return loans with fees, at random."""
    random = np.random.default_rng(seed)

    def draw(high: float, share: float = 0.4) -> np.ndarray:
        return np.where(random.random(count) < share, random.uniform(0, high, count), 0.0)

    amount = np.round(random.lognormal(9.5, 1.2, count), 2) + 500
    return Loans(
        amount=amount,
        months=random.choice([1, 2, 3, 6, 12, 13, 24, 36, 60], count),
        rate=np.where(random.random(count) < 0.05, 0.0, random.uniform(0.0, 0.36, count)),
        repayment=random.choice(REPAYMENTS, count),
        is_compound=random.random(count) < 0.5,
        charges=Charges(
            upfront_share=draw(0.05),
            upfront_fixed=draw(50.0),
            period_share_of_amount=draw(0.005),
            period_share_of_balance=draw(0.005),
            period_fixed=draw(10.0),
            end_share_of_amount=draw(0.02),
            end_share_of_balance=draw(0.02),
            end_fixed=draw(30.0),
        ),
    )


def one_loan(**changes: Any) -> Loans:
    """Return a loan of 12,000 over 12 months at 12% a year without fees, with changes."""
    terms: dict[str, Any] = {"amount": 12_000.0, "months": 12, "rate": 0.12}
    terms |= {"repayment": EQUAL_INSTALMENTS}
    charges = {name: np.array([changes.pop(name, 0.0)]) for name in CHARGES}
    arrays = {name: np.array([value]) for name, value in (terms | changes).items()}
    return Loans(**({"is_compound": np.array([False])} | arrays), charges=Charges(**charges))


def list_flows(loans: Loans, row: int) -> list[float]:
    """Return the cash flows of one loan as the person sees them, month by month."""
    amount, months = float(loans.amount[row]), int(loans.months[row])
    rate = float(loans.rate[row])
    monthly = (1 + rate) ** (1 / 12) - 1 if loans.is_compound[row] else rate / 12
    fee = {name: float(values[row]) for name, values in vars(loans.charges).items()}
    flows = [amount - amount * fee["upfront_share"] - fee["upfront_fixed"]]
    growth = (1 + monthly) ** months
    annuity = amount * monthly * growth / (growth - 1) if monthly else amount / months
    owed = amount
    for month in range(1, months + 1):
        interest, is_last = owed * monthly, month == months
        paid = {
            "equal_instalments": annuity,
            "equal_principal": amount / months + interest,
            "interest_first": interest,
            "bullet": 0.0,
        }[str(loans.repayment[row])]
        paid = owed + interest if is_last else paid
        charged = (
            fee["period_share_of_amount"] * amount
            + fee["period_share_of_balance"] * owed
            + fee["period_fixed"]
        )
        if is_last:
            charged += fee["end_share_of_amount"] * amount + fee["end_fixed"]
            charged += fee["end_share_of_balance"] * owed
        flows.append(-(paid + charged))
        owed += interest - paid
    return flows


# Directive 98/7/EC, Annex II (Annex III of 87/102/EEC): the published examples of this equation, on
# a calendar (A) and on a standard year (B), with one digit and where it is published with two.
# 2008/48/EC and 2023/2225 have the equation and no examples.
EXAMPLES: dict[str, tuple[float, dict[float, float], float | None, float]] = {
    "A1": (1000, {546 / 365: 1200}, 12.96, 13.0),
    "A2": (950, {546 / 365: 1200}, None, 16.9),
    "A3": (1000, {1: 600, 2: 600}, 13.07, 13.1),
    "A4": (1000, {90 / 365: 272, 181 / 365: 272, 1: 544}, 13.23, 13.2),
    "B1": (1000, {1.5: 1200}, 12.92, 12.9),
    "B2": (950, {1.5: 1200}, None, 16.9),
    "B3": (1000, {1: 600, 2: 600}, 13.07, 13.1),
    "B4": (1000, {0.25: 272, 0.5: 272, 1: 544}, 13.19, 13.2),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_published_examples_of_the_directive_come_out_to_the_digit(name):
    received, paid, two_digits, one_digit = EXAMPLES[name]
    payments = np.array([[float(payment)] for payment in paid.values()])
    (rate,) = solve_rate(np.array([float(received)]), payments, list(paid), np.zeros(1))
    assert round(100 * rate, 1) == one_digit
    assert two_digits is None or round(100 * rate, 2) == two_digits


def test_the_annual_cost_equals_an_independent_irr_on_10_000_schedules_with_fees():
    loans = make_loans(10_000)
    found = compute_costs(loans).annual_cost
    monthly = np.array([pyxirr.irr(list_flows(loans, row)) for row in range(10_000)], np.float64)
    expected = np.where(loans.is_compound, (1 + monthly) ** MONTHS - 1, MONTHS * monthly)
    assert np.isfinite(expected).all()
    assert np.abs(found - expected).max() < 1e-6


def test_money_adds_up_to_the_cash_flows():
    loans = make_loans(300)
    costs = compute_costs(loans)
    for row in range(300):
        flows = list_flows(loans, row)
        assert costs.interest[row] + costs.fees[row] == pytest.approx(-sum(flows), abs=1e-6)


@pytest.mark.parametrize("repayment", REPAYMENTS)
@pytest.mark.parametrize("is_compound", [False, True])
def test_a_loan_without_fees_costs_its_stated_rate(repayment, is_compound):
    loan = one_loan(repayment=repayment, is_compound=is_compound, rate=0.24)
    assert compute_costs(loan).annual_cost == pytest.approx([0.24], abs=1e-12)


def test_a_share_of_the_balance_adds_its_twelvefold_to_a_simple_rate():
    loan = one_loan(rate=0.18, period_share_of_balance=0.001)
    assert compute_costs(loan).annual_cost == pytest.approx([0.192], abs=1e-12)


def test_equal_instalments_are_the_annuity():
    costs = compute_costs(one_loan())
    assert costs.instalment == pytest.approx([1066.1854641], abs=1e-6)
    assert costs.last_instalment == pytest.approx(costs.instalment)


def test_a_loan_of_which_fees_leave_nothing_has_an_infinite_cost():
    assert compute_costs(one_loan(upfront_fixed=12_000.0)).annual_cost == [np.inf]


def test_a_loan_at_its_least_amount_costs_just_the_limit():
    loans = make_loans(2_000, seed=6)
    limit = np.random.default_rng(6).uniform(0.1, 0.8, 2_000)
    least = find_least_amounts(loans, limit)
    bounded = np.isfinite(least) & (least > 0)
    assert bounded.sum() > 300
    at_limit = loans.take(bounded)
    costs = compute_costs(replace(at_limit, amount=least[bounded]))
    assert costs.annual_cost == pytest.approx(limit[bounded], abs=1e-6)


def test_the_least_amount_tells_which_loans_are_within_the_limit():
    loans = make_loans(3_000, seed=7)
    limit = np.where(np.random.default_rng(7).random(3_000) < 0.9, 0.24, 10.0)
    is_within = loans.amount >= find_least_amounts(loans, limit)
    annual = compute_costs(loans).annual_cost
    assert (is_within == (annual <= limit)).all()
    assert 200 < is_within.sum() < 2_800


@pytest.mark.parametrize("rate", [0.24, 0.2400001])
def test_a_rate_at_the_limit_is_within_it(rate):
    (least,) = find_least_amounts(one_loan(rate=rate), np.array([0.24]))
    assert least == (0 if rate == 0.24 else np.inf)
