"""Outcomes that institutions report of shown pairs: events, each with the time it was recorded."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import rounded_exp
from pipelines.simulate.market.catalogue import product_ids
from pipelines.simulate.market.leads import DayLeads
from pipelines.simulate.market.lenders import Lenders, Products
from pipelines.simulate.outcomes.ground_truth import APPLICATION_RATE, PairTruth
from pipelines.simulate.world import CURRENCY, Columns, TimeArray, World

LOST = 0.02
"""Share of decisions that are never reported."""
CORRECTED = 0.01
"""Share of declines that are reported as approvals first and corrected days later."""
HOUR, DAY = 3600, 24 * 3600
MONTH = 30 * DAY
REASONS = np.array(["bureau_score", "debt_to_income", "amount", "policy"])
REPORTING_DAYS = (0, 3)
"""Monday and Thursday: reporting days of institutions that do not report daily."""

Event = tuple[str, IntArray, TimeArray, TimeArray]
"""Name, positions among the shown pairs, times when it happened and when it was recorded."""


def simulate_outcomes(
    world: World,
    lenders: Lenders,
    products: Products,
    leads: DayLeads,
    pairs: PairTruth,
    *,
    since: TimeArray,
    names: Columns,
) -> Columns:
    """Return the outcomes of a day's leads, with no limit of date.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        leads: The leads of the day.
        pairs: The pairs that were shown.
        since: Time at which each pair was shown.
        names: Columns of the outcomes feed by which the institution identifies the pair.

    Returns:
        `lender` (position), `landed` (the date on which the institution sends it), and columns
        of the outcomes feed, times in UTC.
    """
    events = list(_events(world, leads, pairs, since))
    name = np.concatenate([np.full(rows.size, name) for name, rows, _, _ in events])
    rows = np.concatenate([rows for _, rows, _, _ in events])
    recorded = np.concatenate([recorded for _, _, _, recorded in events])
    lead, product = pairs.lead[rows], pairs.product[rows]
    lender = products.lender[product]
    has_amount = np.isin(name, ("approved", "funded"))
    address = (*(part[lead] for part in leads.address), product)
    reason = world.random.choice("reason", [30, 25, 20, 25], *address)
    return {
        "lender": lender,
        "landed": _reporting_dates(world, recorded, lenders.reports_daily[lender]),
        **{name: column[rows] for name, column in names.items()},
        "product_id": product_ids(products)[product],
        "event": name,
        "event_at": np.concatenate([at for _, _, at, _ in events]),
        "recorded_at": recorded,
        "reason": np.where(name == "declined", REASONS[reason], ""),
        "amount": np.where(has_amount, pairs.amount[rows], np.nan),
        "apr": np.where(has_amount, pairs.apr[rows], np.nan),
        "currency": np.where(has_amount, CURRENCY, ""),
    }


def _events(world: World, leads: DayLeads, pairs: PairTruth, since: TimeArray) -> Iterator[Event]:
    random = world.random
    address = (*(part[pairs.lead] for part in leads.address), pairs.product)

    def happens(topic: str, probability: FloatArray | float) -> BoolArray:
        return np.asarray(random.uniform(topic, *address) < probability)

    def after(times: TimeArray, topic: str, least: float, typical: float) -> TimeArray:
        """Return later times: by at least `least` seconds, and about `typical` more."""
        seconds = least + typical * rounded_exp(0.8 * random.normal(topic, *address))
        return np.asarray(times + np.floor(seconds).astype("timedelta64[s]"))

    def event(name: str, selected: BoolArray, at: TimeArray, recorded: TimeArray) -> Event:
        rows = np.flatnonzero(selected)
        return name, rows, at[rows], recorded[rows]

    applied_at = after(since, "applied after", 60, 3 * HOUR)
    applies = happens("applies", APPLICATION_RATE)
    yield event("applied", applies, applied_at, after(applied_at, "application recorded", 60, HOUR))

    decided_at = after(applied_at, "decided after", 300, 18 * HOUR)
    decision_recorded = after(decided_at, "approval recorded", 60, 2 * HOUR)
    approved = applies & happens("approved", pairs.p_approve / APPLICATION_RATE)
    is_reported = ~happens("lost", LOST)
    declined = applies & ~approved & is_reported
    mistaken = declined & happens("mistaken", CORRECTED)
    corrected_at = after(decision_recorded, "put right after", DAY, 2 * DAY)
    yield event("approved", (approved & is_reported) | mistaken, decided_at, decision_recorded)
    yield event("declined", declined & ~mistaken, decided_at, decision_recorded)
    yield event("declined", mistaken, decided_at, corrected_at)

    funded = _first_of_lead(pairs, approved & happens("funded", pairs.p_take))
    funded_at = after(decided_at, "funded after", HOUR, 2.5 * DAY)
    yield event("funded", funded, funded_at, after(funded_at, "funding recorded", 60, 3 * HOUR))

    defaults = funded & happens("fails", pairs.p_default)
    overdue_at = after(funded_at, "overdue after", 2 * MONTH, 3 * MONTH)
    for step, name in enumerate(("overdue_30", "overdue_60", "overdue_90")):
        at = overdue_at + np.timedelta64(step * MONTH, "s")
        yield event(name, defaults, at, after(at, f"{name} recorded", HOUR, 6 * HOUR))
    term = leads.columns["term_months"][pairs.lead].astype(np.int64) * MONTH
    repaid_at = funded_at + term.astype("timedelta64[s]")
    repayment_recorded = after(repaid_at, "repayment recorded", HOUR, 6 * HOUR)
    yield event("repaid", funded & ~defaults, repaid_at, repayment_recorded)


def _first_of_lead(pairs: PairTruth, wanted: BoolArray) -> BoolArray:
    """Return which of the wanted loans each lead takes: the one of lowest rank only."""
    rows = np.flatnonzero(wanted)
    rows = rows[np.lexsort((pairs.rank[rows], pairs.lead[rows]))]
    rows = rows[np.diff(pairs.lead[rows], prepend=-1) != 0]
    is_taken = np.zeros(wanted.size, np.bool_)
    is_taken[rows] = True
    return is_taken


def _reporting_dates(
    world: World, recorded: TimeArray, reports_daily: BoolArray
) -> NDArray[np.datetime64]:
    """Return the date on which an event is sent: its own, or the next reporting day."""
    dates = world.business_dates(recorded)
    weekday = (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    wait = np.min([(day - weekday) % 7 for day in REPORTING_DAYS], axis=0)
    return np.asarray(dates + np.where(reports_daily, 0, wait))
