"""Whole financing cost of a loan: the annual rate of all that a person pays for it in any case.

The annual cost X of the EU's consumer credit directives (2008/48/EC, Annex I; 2023/2225, Annex III)
makes the present value of what the person pays equal to what the person receives:

    sum of C_k (1 + X)^-t_k = sum of D_l (1 + X)^-s_l    (t, s in years; a month is 1/12)

Loans are repaid monthly here, so the equation has a monthly rate m: X is (1 + m)^12 - 1
(`compound`), and 12 m is the rate as other laws state it (`simple`);
`expectations/policy/financing_cost.yml` says which one a loan is stated in. The interest is the
stated rate in the same annualisation, so a loan without fees costs its stated rate.

Everything is computed for many loans at once. A loop runs over the months of a term, and over the
distinct terms, never over loans.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, FloatArray, IntArray

EQUAL_INSTALMENTS, EQUAL_PRINCIPAL, INTEREST_FIRST, BULLET = (
    "equal_instalments",
    "equal_principal",
    "interest_first",
    "bullet",
)
MONTHS = 12
HIGHEST_RATE = 10.0
"""Annual cost that fees may never exceed: the highest rate that a catalogue may state."""
CELLS = 4_000_000
"""Payments that are held at a time; bounds the memory, never changes the result."""
MAX_ROUNDS = 200
TOLERANCE = 1e-13
"""Relative change of 1 + rate at which Newton's method ends."""
PRICE_TOLERANCE = 1e-9
"""A present value above the amount by less than this share of it is a rounding error."""


@dataclass(frozen=True)
class Charges:
    """What fees charge in any case, by loan: shares (of the amount, of the balance) and money."""

    upfront_share: FloatArray
    upfront_fixed: FloatArray
    period_share_of_amount: FloatArray
    period_share_of_balance: FloatArray
    period_fixed: FloatArray
    end_share_of_amount: FloatArray
    end_share_of_balance: FloatArray
    end_fixed: FloatArray


CHARGES = tuple(field.name for field in fields(Charges))
FIXED = tuple(name for name in CHARGES if name.endswith("fixed"))


@dataclass(frozen=True)
class Loans:
    """Terms of some loans; all arrays have one length."""

    amount: FloatArray
    months: IntArray
    rate: FloatArray
    """Interest, as an annual rate."""
    repayment: NDArray[np.str_]
    """How it is repaid, as the feed `products` states it."""
    is_compound: BoolArray
    """Whether its annual rates are compound ones."""
    charges: Charges

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """Return the loans of a table with these columns and `CHARGES`; no value is null."""
        charges = {name: _floats(table, name) for name in CHARGES}
        return cls(
            amount=_floats(table, "amount"),
            months=np.asarray(table["months"].to_numpy(), np.int64),
            rate=_floats(table, "rate"),
            repayment=np.asarray(table["repayment"].to_pylist(), np.str_),
            is_compound=np.asarray(table["is_compound"].to_numpy(zero_copy_only=False), np.bool_),
            charges=Charges(**charges),
        )

    def take(self, rows: IntArray | BoolArray) -> Self:
        """Return some of the loans."""
        charges = {name: values[rows] for name, values in vars(self.charges).items()}
        return replace(
            self,
            amount=self.amount[rows],
            months=self.months[rows],
            rate=self.rate[rows],
            repayment=self.repayment[rows],
            is_compound=self.is_compound[rows],
            charges=Charges(**charges),
        )


@dataclass(frozen=True)
class Costs:
    """What some loans cost; money in the currency of the loan."""

    instalment: FloatArray
    """Principal and interest of the first month."""
    last_instalment: FloatArray
    interest: FloatArray
    fees: FloatArray
    """All fees that are charged in any case."""
    annual_cost: FloatArray
    """Annual rate of interest and fees; infinite where fees leave nothing of the amount."""
    balance_months: FloatArray
    """Sum of the balances owed during each month: principal in use x months."""
    last_balance: FloatArray
    """Balance owed during the last month."""


def _floats(table: pa.Table, name: str) -> FloatArray:
    return np.asarray(table[name].to_numpy(), np.float64)


def to_period_rate(annual: FloatArray, is_compound: BoolArray) -> FloatArray:
    """Return the monthly rate of an annual one."""
    return np.where(is_compound, np.expm1(np.log1p(annual) / MONTHS), annual / MONTHS)


def to_annual_rate(period_rate: FloatArray, is_compound: BoolArray) -> FloatArray:
    """Return the annual rate of a monthly one."""
    with np.errstate(over="ignore"):
        compound = np.expm1(MONTHS * np.log1p(period_rate))
    return np.where(is_compound, compound, MONTHS * period_rate)


def solve_rate(
    received: FloatArray, payments: FloatArray, times: Sequence[float], start: FloatArray
) -> FloatArray:
    """Return the rate at which payments have the present value of what is received.

    Newton's method on sum of D_k (1 + r)^-t_k - C, which is convex and falls with r: from a rate
    that is not above the solution it rises to it and never passes it.

    Args:
        received: C, at time 0; shape (loans,).
        payments: D, at least 0; shape (times, loans).
        times: t, in periods of the rate, ascending.
        start: A rate not above the solution.

    Returns:
        The rate a period; infinite where nothing is received.
    """
    rate = np.full(len(received), np.inf)
    open_ = received > 0
    received, payments, found = received[open_], payments[:, open_], start[open_]
    for _ in range(MAX_ROUNDS):
        value, slope = _present_value(payments, times, found)
        change = (value - received) * (1 + found) / slope
        found = found + change
        if np.all(np.abs(change) <= TOLERANCE * (1 + found)):
            break
    rate[open_] = found
    return rate


def _present_value(
    payments: FloatArray, times: Sequence[float], rate: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the present value of payments, and the sum of each one times its time."""
    value, slope, discount = np.zeros_like(rate), np.zeros_like(rate), np.ones_like(rate)
    length = before = 0.0
    for time, payment in zip(times, payments, strict=True):
        if time - before != length:
            length = time - before
            step = (1 + rate) ** -length
        before = time
        discount = discount * step
        present = payment * discount
        value += present
        slope += time * present
    return value, slope


def compute_costs(loans: Loans) -> Costs:
    """Return the costs of loans."""
    found = {field.name: np.full(len(loans.amount), np.nan) for field in fields(Costs)}
    for rows in _split_by_term(loans.months):
        for name, values in vars(_cost_one_term(loans.take(rows))).items():
            found[name][rows] = values
    return Costs(**found)


def _split_by_term(months: IntArray) -> Iterator[IntArray]:
    """Yield the rows of each term, of long ones in parts."""
    for term in np.unique(months):
        rows = np.flatnonzero(months == term)
        size = max(1, CELLS // int(term))
        for first in range(0, len(rows), size):
            yield rows[first : first + size]


def _cost_one_term(loans: Loans) -> Costs:
    """Return the costs of loans of one term."""
    rate = to_period_rate(loans.rate, loans.is_compound)
    balances, instalments = _repay(loans, rate)
    fees = _charge(loans, balances)
    upfront = loans.amount * loans.charges.upfront_share + loans.charges.upfront_fixed
    times = range(1, len(balances) + 1)
    period_rate = solve_rate(loans.amount - upfront, instalments + fees, times, rate)
    return Costs(
        instalment=instalments[0],
        last_instalment=instalments[-1],
        interest=instalments.sum(axis=0) - loans.amount,
        fees=upfront + fees.sum(axis=0),
        annual_cost=to_annual_rate(period_rate, loans.is_compound),
        balance_months=balances.sum(axis=0),
        last_balance=balances[-1],
    )


def _repay(loans: Loans, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the balance during each month and the instalment at its end, of one term.

    What is owed at the end is paid with the last instalment. Interest that is not paid is owed
    like principal, so a bullet pays interest on interest.
    """
    months = int(loans.months[0]) if len(loans.months) else 1
    with np.errstate(divide="ignore", invalid="ignore"):
        annuity = loans.amount * rate / -np.expm1(-months * np.log1p(rate))
    annuity = np.where(rate > 0, annuity, loans.amount / months)
    is_equal = loans.repayment == EQUAL_INSTALMENTS
    is_principal = loans.repayment == EQUAL_PRINCIPAL
    constant = np.select([is_equal, is_principal], [annuity, loans.amount / months], 0.0)
    pays_interest = is_principal | (loans.repayment == INTEREST_FIRST)
    balances, instalments = np.empty((2, months, len(rate)))
    balance = loans.amount
    for month in range(months):
        interest = balance * rate
        balances[month] = balance
        instalments[month] = constant + pays_interest * interest
        balance = balance + interest - instalments[month]
    instalments[-1] += balance
    return balances, instalments


def _charge(loans: Loans, balances: FloatArray) -> FloatArray:
    """Return the fees at the end of each month, of one term."""
    charges = loans.charges
    fees = charges.period_share_of_balance * balances
    fees += charges.period_share_of_amount * loans.amount + charges.period_fixed
    fees[-1] += charges.end_share_of_amount * loans.amount + charges.end_fixed
    fees[-1] += charges.end_share_of_balance * balances[-1]
    return fees


def find_least_amounts(loans: Loans, highest: FloatArray) -> FloatArray:
    """Return the amount from which on each loan costs at most `highest` a year, at its other terms.

    What grows with the amount has one annual cost; fixed fees weigh less the larger it is. So the
    cost is within the limit if at its rate the payments of an amount P have a present value of at
    most P:

        P c + F <= P, from P = F / (1 - c) on    (c: of what a unit pays; F: of fixed fees)

    Args:
        loans: Loans; their amounts don't count.
        highest: Highest annual cost.

    Returns:
        The amount: 0 where any is cheap enough, infinite where none is.
    """
    least = np.empty(len(highest))
    limit = to_period_rate(highest, loans.is_compound)
    units = replace(loans, amount=np.ones(len(highest)))
    for rows in _split_by_term(loans.months):
        least[rows] = _find_least_amounts(units.take(rows), limit[rows])
    return least


def _find_least_amounts(units: Loans, limit: FloatArray) -> FloatArray:
    """Return the least amounts of one term; `units` lend an amount of 1."""
    nothing = np.zeros(len(limit))
    shares = replace(units.charges, **dict.fromkeys(FIXED, nothing))
    fixed = replace(units.charges, **{name: nothing for name in CHARGES if name not in FIXED})
    balances, instalments = _repay(units, to_period_rate(units.rate, units.is_compound))
    times = range(1, len(balances) + 1)
    paid, _ = _present_value(
        instalments + _charge(replace(units, charges=shares), balances), times, limit
    )
    flat, _ = _present_value(_charge(replace(units, charges=fixed), balances), times, limit)
    room = 1 + PRICE_TOLERANCE - paid - units.charges.upfront_share
    flat += units.charges.upfront_fixed
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(room < 0, np.inf, np.where(flat > 0, flat / room, 0.0))
