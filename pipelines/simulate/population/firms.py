"""Small businesses, and who buys from whom."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import Chance, exp, logistic
from pipelines.simulate.population import identities
from pipelines.simulate.population.identities import Numbers
from pipelines.simulate.shocks import SECTOR_FALLS
from pipelines.simulate.world import CURRENCY, PEOPLE, WEALTH, Columns, World
from pipelines.simulate.write_feeds import to_arrow, with_same

INDUSTRIES = np.array(list("ACEFGHILMO"))
"""Sections of GB/T 4754: farming, manufacturing, construction, trade, transport, catering, ..."""
PURPOSES = np.array(["working_capital", "stock", "equipment", "expansion", "bridging"])
TERMS = np.array([3, 6, 12, 24, 36])
FIRST_DAY, DAYS = np.datetime64("1999-01-01"), 9_600  # until the spring of 2025
FALLEN = 3
"""Position of the industry that falls when one does: trade, the most common."""
SELLS = 0.3
"""Share of firms that send invoices to another firm in here in a month."""


@dataclass(frozen=True)
class Firms:
    """Columns of firms, each of the same length; NaN is unknown to everyone but the firm."""

    number: IntArray
    region: IntArray
    industry: IntArray
    established: NDArray[np.datetime64]
    revenue: FloatArray
    employees: IntArray
    tax: FloatArray
    invoices: IntArray
    debt: FloatArray
    score: FloatArray
    stability: FloatArray
    hidden: FloatArray


def stability(chance: Chance, number: IntArray) -> FloatArray:
    """Return how reliably a firm pays; standard normal."""
    return chance.normal("firm stability", number)


def firms(chance: Chance, number: IntArray) -> Firms:
    """Return the firms of these numbers."""
    region = regions(chance, number)
    steady = stability(chance, number)
    size = 0.3 * steady + 0.954 * chance.normal("firm size", number)
    revenue = np.round(exp(14.3 + 1.0 * size + 0.2 * WEALTH[region]), -3)
    staff = revenue / exp(12.6 + 0.5 * chance.normal("firm staff", number))
    margin = np.clip(0.03 + 0.008 * steady + 0.01 * chance.normal("firm tax", number), 0, 0.2)
    per_invoice = exp(9.8 + 0.6 * chance.normal("firm invoice", number))
    owed = np.clip(0.02 + 0.012 * chance.normal("firm debt", number) - 0.006 * steady, 0, 0.2)
    score = np.round(640 + 60 * steady + 22 * chance.normal("firm score", number))
    thin = chance.uniform("firm thin file", number) < 0.25
    return Firms(
        number=number,
        region=region,
        industry=industry(chance, number),
        established=FIRST_DAY + chance.below("established", DAYS, number),
        revenue=revenue,
        employees=np.floor(staff).astype(np.int64) + 1,
        tax=np.round(revenue * margin, -2),
        invoices=np.floor(revenue / per_invoice).astype(np.int64),
        debt=np.round(revenue * owed, -2),
        score=np.where(thin, np.nan, np.clip(score, 350, 900)),
        stability=steady,
        hidden=chance.normal("firm hidden", number),
    )


def industry(chance: Chance, number: IntArray) -> IntArray:
    """Return the position of each firm's industry."""
    return chance.choice("industry", [6, 22, 9, 30, 7, 9, 6, 4, 3, 4], number)


def buyer_of(world: World, number: IntArray) -> IntArray:
    """Return the firm that each firm sells most to; a few large ones buy from many."""
    near = np.round(world.chance.uniform("buys from", number) ** 3, 9)
    return np.asarray(np.floor(near * world.firms), np.int64)


def fallen(those: Firms) -> Firms:
    """Return the firms after their sector fell: those of the industry that falls sell less."""
    has_fallen = those.industry == FALLEN
    keeps = np.where(has_fallen, 0.65, 1.0)
    return replace(
        those,
        revenue=np.round(those.revenue * keeps, -3),
        tax=np.round(those.tax * keeps * keeps, -2),
        invoices=np.floor(those.invoices * keeps).astype(np.int64),
    )


def regions(chance: Chance, number: IntArray) -> IntArray:
    """Return the region in which each firm is registered."""
    return chance.choice("firm region", PEOPLE.tolist(), number)


def identity(chance: Chance, who: Firms) -> Columns:
    """Return the columns of a lead that say which firm it is."""
    return {
        "full_name": identities.names(chance, -who.number - 1),
        "id_type": np.full(who.number.size, "prc_uscc"),
        "id_number": identities.uscc(who.region, who.number).astype(np.str_),
        "phone": phones(who.number).astype(np.str_),
        "business_name": identities.firm_names(chance, who.number),
    }


def phones(number: IntArray) -> Numbers:
    """Return each firm's phone, counted down from the last so that none is also a person's."""
    return identities.phones(identities.HUNDRED_MILLION - 1 - number)


def needs(chance: Chance, who: Firms, request: tuple[IntArray, IntArray]) -> Columns:
    """Return what firms ask for in these requests (day and position)."""
    # Ten times the revenue asks for three times the loan, not ten times.
    size = 0.5 * np.log(np.maximum(who.revenue, 1) / 1_600_000)
    need = exp(size + 0.35 * chance.normal("firm need", *request))
    return {
        "amount": np.clip(np.round(20_000 * need, -3), 10_000, 200_000),
        "term_months": TERMS[chance.choice("firm term", [8, 22, 45, 15, 10], *request)],
        "purpose": PURPOSES[chance.choice("firm purpose", [45, 20, 15, 12, 8], *request)],
    }


def supply_links(world: World, month: date, recorded: date, among: IntArray) -> pa.Table:
    """Return whom these firms invoiced in the month of `month`.

    A few large firms buy from many. How late a buyer pays says something of its stability.

    Args:
        world: The world.
        month: Any day of the month.
        recorded: The date on which it became known.
        among: Numbers of the firms that may have sold.
    """
    chance, when = world.chance, month.year * 12 + month.month
    sellers = among[chance.uniform("sells", among, when) < SELLS]
    buyers = buyer_of(world, sellers)
    sellers, buyers = sellers[sellers != buyers], buyers[sellers != buyers]
    has_fallen = world.is_struck(SECTOR_FALLS, recorded) & (industry(chance, buyers) == FALLEN)
    late = logistic(
        -1.6
        - 0.9 * stability(chance, buyers)
        + 0.5 * chance.normal("late", sellers, when)
        + has_fallen
    )
    amount = exp(10.5 + 0.9 * chance.normal("sale", sellers, when))
    links = to_arrow(
        {
            "buyer_id": identities.uscc(regions(chance, buyers), buyers),
            "seller_id": identities.uscc(regions(chance, sellers), sellers),
            "amount": np.round(amount, 2),
            "invoices": 1 + chance.below("sales", 12, sellers, when),
            "paid_late_share": np.round(late, 3),
        }
    )
    recorded_at = world.settings.day_start(recorded).isoformat()
    said = {"month": f"{month:%Y-%m}", "currency": CURRENCY, "recorded_at": recorded_at}
    return with_same(links, said)


def month_before(day: date, back: int = 1) -> date:
    """Return the first day of the month `back` months before the month of `day`."""
    first = day.replace(day=1)
    for _ in range(back):
        first = (first - timedelta(days=1)).replace(day=1)
    return first
