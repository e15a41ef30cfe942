"""The annual cost of one loan by its payments, for the check of delivered rows, by own code."""

from collections.abc import Iterable

from tests.independent.landed import Row

HIGHEST = 100.0
"""Monthly rate above which the search for the cost does not go."""


def find_annual_cost(
    amount: float, months: int, rate: float, repayment: str, fees: Iterable[Row]
) -> float:
    """Return twelve times the monthly rate that discounts the payments to what the person gets.

    Args:
        amount: Principal.
        months: Term.
        rate: Interest a year.
        repayment: As the feed `products` states it; empty: equal instalments.
        fees: Rows of `product_fees` of the product.
    """
    charged = [fee for fee in fees if fee["is_contingent"].lower() in {"false", "0"}]
    received, payments = amount - _sum(charged, "upfront", amount, amount), []
    monthly, owed = rate / 12, amount
    growth = (1 + monthly) ** months
    annuity = amount * monthly * growth / (growth - 1) if monthly else amount / months
    for month in range(1, months + 1):
        interest = owed * monthly
        paid = {
            "": annuity,
            "equal_instalments": annuity,
            "equal_principal": amount / months + interest,
            "interest_first": interest,
            "bullet": 0.0,
        }[repayment]
        paid = owed + interest if month == months else paid
        fee = _sum(charged, "each_period", amount, owed)
        fee += _sum(charged, "at_end", amount, owed) if month == months else 0
        payments.append(paid + fee)
        owed += interest - paid
    low, high = 0.0, HIGHEST
    for _ in range(200):
        middle = (low + high) / 2
        value = sum(each / (1 + middle) ** (n + 1) for n, each in enumerate(payments))
        low, high = (middle, high) if value > received else (low, middle)
    return 12 * low


def _sum(fees: Iterable[Row], when: str, amount: float, owed: float) -> float:
    base = {"share_of_amount": amount, "share_of_balance": owed, "fixed": 1.0}
    return sum(float(fee["value"]) * base[fee["basis"]] for fee in fees if fee["when"] == when)
