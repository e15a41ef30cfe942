"""Small businesses: identity, size and debt, their loan requests and supply links."""

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import KeyedRandom, rounded_exp, rounded_sigmoid
from pipelines.simulate.population import identities
from pipelines.simulate.population.chains import (
    Chains,
    firm_industries,
    firm_stability,
    month_number,
)
from pipelines.simulate.population.identities import AsciiArray
from pipelines.simulate.shocks import SECTOR_FALLS
from pipelines.simulate.world import CURRENCY, REGION_INCOME, REGION_POPULATION, Columns, World
from pipelines.simulate.write_feeds import add_constants, to_arrow

INDUSTRIES = np.array(list("ACEFGHILMO"))
"""Sections of GB/T 4754: farming, manufacturing, construction, trade, transport, catering, ..."""
PURPOSES = np.array(["working_capital", "stock", "equipment", "expansion", "bridging"])
TERMS = np.array([3, 6, 12, 24, 36])
FIRST_DAY, DAYS = np.datetime64("1999-01-01"), 9_600  # until the spring of 2025
FALLING_INDUSTRY = 3
"""Position of the industry that the shock `sector_falls` strikes: trade, the most common."""
DAYS_UNTIL_DUE, DAYS_LATE = 30, 75
"""Days after which an invoice is due; days by which one that is paid late may be late."""
ANCHORS = 0.02
"""Share of firms, the first numbers, that buy from many and may confirm what they owe."""


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


def generate_firms(random: KeyedRandom, number: IntArray) -> Firms:
    """Return the firms of these numbers."""
    region = firm_regions(random, number)
    stability = firm_stability(random, number)
    size = 0.3 * stability + 0.954 * random.normal("firm size", number)
    revenue = np.round(rounded_exp(14.3 + 1.0 * size + 0.2 * REGION_INCOME[region]), -3)
    staff = revenue / rounded_exp(12.6 + 0.5 * random.normal("firm staff", number))
    tax = 0.03 + 0.008 * stability + 0.01 * random.normal("firm tax", number)
    tax_share = np.clip(tax, 0, 0.2)
    per_invoice = rounded_exp(9.8 + 0.6 * random.normal("firm invoice", number))
    debt = 0.02 + 0.012 * random.normal("firm debt", number) - 0.006 * stability
    debt_share = np.clip(debt, 0, 0.2)
    score = np.round(640 + 60 * stability + 22 * random.normal("firm score", number))
    has_thin_file = random.uniform("firm thin file", number) < 0.25
    return Firms(
        number=number,
        region=region,
        industry=firm_industries(random, number),
        established=FIRST_DAY + random.integers("established", DAYS, number),
        revenue=revenue,
        employees=np.floor(staff).astype(np.int64) + 1,
        tax=np.round(revenue * tax_share, -2),
        invoices=np.floor(revenue / per_invoice).astype(np.int64),
        debt=np.round(revenue * debt_share, -2),
        score=np.where(has_thin_file, np.nan, np.clip(score, 350, 900)),
        stability=stability,
        hidden=random.normal("firm hidden", number),
    )


def firm_regions(random: KeyedRandom, number: IntArray) -> IntArray:
    """Return the region in which each firm is registered."""
    return random.choice("firm region", REGION_POPULATION.tolist(), number)


def chains_of(world: World) -> Chains:
    """Return the supply chains of the world."""
    return Chains(world.random, world.firms, world.contagion)


def apply_sector_fall(firms: Firms) -> Firms:
    """Return the firms with lower sales in the industry that `sector_falls` strikes."""
    remaining = np.where(firms.industry == FALLING_INDUSTRY, 0.65, 1.0)
    return replace(
        firms,
        revenue=np.round(firms.revenue * remaining, -3),
        tax=np.round(firms.tax * remaining * remaining, -2),
        invoices=np.floor(firms.invoices * remaining).astype(np.int64),
    )


def identity_columns(random: KeyedRandom, firms: Firms) -> Columns:
    """Return the lead columns that identify a firm."""
    return {
        "full_name": identities.person_names(random, -firms.number - 1),
        "id_type": np.full(firms.number.size, "prc_uscc"),
        "id_number": identities.credit_codes(firms.region, firms.number).astype(np.str_),
        "phone": firm_phones(firms.number).astype(np.str_),
        "business_name": identities.firm_names(random, firms.number),
    }


def firm_phones(number: IntArray) -> AsciiArray:
    """Return each firm's phone, counted down from the last number so that no person has it."""
    return identities.phones(identities.HUNDRED_MILLION - 1 - number)


def loan_request(random: KeyedRandom, firms: Firms, address: tuple[IntArray, IntArray]) -> Columns:
    """Return amount, term and purpose of the leads at `address` (day and number)."""
    # Ten times the revenue requests about three times the amount.
    size = 0.5 * np.log(np.maximum(firms.revenue, 1) / 1_600_000)
    need = rounded_exp(size + 0.35 * random.normal("firm need", *address))
    return {
        "amount": np.clip(np.round(20_000 * need, -3), 10_000, 200_000),
        "term_months": TERMS[random.choice("firm term", [8, 22, 45, 15, 10], *address)],
        "purpose": PURPOSES[random.choice("firm purpose", [45, 20, 15, 12, 8], *address)],
    }


def supply_links(world: World, month: date, recorded: date, candidates: IntArray) -> pa.Table:
    """Return the invoices of some firms in the month of `month`, by seller and buyer.

    A few large firms buy from many, and some of them confirm what they owe. The delay of a buyer's
    payments depends on its stability, on its failures and on how it is paid itself.

    Args:
        world: The world.
        month: Any day of the month.
        recorded: The date on which the links became known.
        candidates: Numbers of the firms that may have sold.
    """
    random, when, chains = world.random, month_number(month), chains_of(world)
    sellers = candidates[random.uniform("sells", candidates, when) < world.seller_share]
    all_buyers = chains.buyers(sellers)
    is_second = random.uniform("sells to", sellers, when) >= all_buyers.share[:, 0]
    buyers = np.where(is_second, all_buyers.number[:, 1], all_buyers.number[:, 0])
    sellers, buyers = sellers[sellers != buyers], buyers[sellers != buyers]
    is_falling = world.has_shock(SECTOR_FALLS, recorded) & (
        firm_industries(random, buyers) == FALLING_INDUSTRY
    )
    each, position = np.unique(buyers, return_inverse=True)
    late = rounded_sigmoid(
        chains.late_log_odds(each, when)[position]
        + 0.5 * random.normal("late", sellers, when)
        + is_falling
    )
    amount = rounded_exp(10.5 + 0.9 * random.normal("sale", sellers, when))
    days = DAYS_UNTIL_DUE * random.uniform("days to pay", sellers, when) + DAYS_LATE * late
    confirms = random.uniform("confirms", buyers) < np.where(buyers < ANCHORS * world.firms, 0.8, 0)
    links = to_arrow(
        {
            "buyer_id": identities.credit_codes(firm_regions(random, buyers), buyers),
            "seller_id": identities.credit_codes(firm_regions(random, sellers), sellers),
            "amount": np.round(amount, 2),
            "invoices": 1 + random.integers("sales", 12, sellers, when),
            "paid_late_share": np.round(late, 3),
            "confirmed_share": np.where(
                confirms, np.round(0.5 + 0.5 * random.uniform("confirmed", sellers, when), 3), 0.0
            ),
            "days_to_pay": np.round(days, 1),
        }
    )
    recorded_at = world.settings.day_start(recorded).isoformat()
    return add_constants(
        links, {"month": f"{month:%Y-%m}", "currency": CURRENCY, "recorded_at": recorded_at}
    )


def month_before(day: date, back: int = 1) -> date:
    """Return the first day of the month `back` months before the month of `day`."""
    first = day.replace(day=1)
    for _ in range(back):
        first = (first - timedelta(days=1)).replace(day=1)
    return first
