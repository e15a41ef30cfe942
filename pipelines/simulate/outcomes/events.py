"""What institutions report of the pairs that were shown: events, each with when it was recorded."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.keyed_random import exp
from pipelines.simulate.market.catalogue import product_names
from pipelines.simulate.market.lenders import Lenders, Products
from pipelines.simulate.market.requests import Requests
from pipelines.simulate.outcomes.ground_truth import APPLIES, Shown
from pipelines.simulate.world import CURRENCY, Columns, Moments, World

LOST = 0.02
"""Share of decisions that never arrive."""
CORRECTED = 0.01
"""Share of declines that are told as approvals first, and put right days later."""
HOUR, DAY = 3600, 24 * 3600
MONTH = 30 * DAY
REASONS = np.array(["bureau_score", "debt_to_income", "amount", "policy"])
BATCH_DAYS = (0, 3)
"""Monday and Thursday: when those report who don't report every day."""

Event = tuple[str, IntArray, Moments, Moments]
"""Its name, positions in what was shown, when it happened and when it was recorded."""


def reported(
    world: World,
    lenders: Lenders,
    products: Products,
    asked: Requests,
    pairs: Shown,
    *,
    since: Moments,
    names: Columns,
) -> Columns:
    """Return the outcomes of a day's leads, whenever they happen.

    Args:
        world: The world.
        lenders: Its institutions.
        products: Their products.
        asked: The leads of the day.
        pairs: Those that were shown.
        since: When each pair was shown.
        names: Columns of the outcomes feed by which the institution says which pair it means.

    Returns:
        `lender` (position), `landed` (the date on which the institution sends it), and columns
        of the outcomes feed, moments in UTC.
    """
    events = list(_events(world, asked, pairs, since))
    name = np.concatenate([np.full(rows.size, name) for name, rows, _, _ in events])
    rows = np.concatenate([rows for _, rows, _, _ in events])
    recorded = np.concatenate([recorded for _, _, _, recorded in events])
    lead, product = pairs.lead[rows], pairs.product[rows]
    lender = products.lender[product]
    has_amount = np.isin(name, ("approved", "funded"))
    reason = world.chance.choice(
        "reason", [30, 25, 20, 25], *(part[lead] for part in asked.at), product
    )
    return {
        "lender": lender,
        "landed": _landed(world, recorded, lenders.reports_daily[lender]),
        **{name: column[rows] for name, column in names.items()},
        "product_id": product_names(products)[product],
        "event": name,
        "event_at": np.concatenate([at for _, _, at, _ in events]),
        "recorded_at": recorded,
        "reason": np.where(name == "declined", REASONS[reason], ""),
        "amount": np.where(has_amount, pairs.amount[rows], np.nan),
        "apr": np.where(has_amount, pairs.apr[rows], np.nan),
        "currency": np.where(has_amount, CURRENCY, ""),
    }


def _events(world: World, asked: Requests, pairs: Shown, since: Moments) -> Iterator[Event]:
    chance = world.chance
    where = (*(part[pairs.lead] for part in asked.at), pairs.product)

    def happens(topic: str, probability: FloatArray | float) -> BoolArray:
        return np.asarray(chance.uniform(topic, *where) < probability)

    def after(moments: Moments, topic: str, least: float, usual: float) -> Moments:
        """Return moments later by at least so many seconds, usually by about so many."""
        seconds = least + usual * exp(0.8 * chance.normal(topic, *where))
        return np.asarray(moments + np.floor(seconds).astype("timedelta64[s]"))

    def told(name: str, those: BoolArray, at: Moments, known: Moments) -> Event:
        rows = np.flatnonzero(those)
        return name, rows, at[rows], known[rows]

    applied_at = after(since, "applied after", 60, 3 * HOUR)
    applies = happens("applies", APPLIES)
    yield told("applied", applies, applied_at, after(applied_at, "applied told", 60, HOUR))

    decided_at = after(applied_at, "decided after", 300, 18 * HOUR)
    decided_known = after(decided_at, "decided told", 60, 2 * HOUR)
    approved = applies & happens("approved", pairs.p_approve / APPLIES)
    arrives = ~happens("lost", LOST)
    declined = applies & ~approved & arrives
    mistaken = declined & happens("mistaken", CORRECTED)
    put_right = after(decided_known, "put right after", DAY, 2 * DAY)
    yield told("approved", (approved & arrives) | mistaken, decided_at, decided_known)
    yield told("declined", declined & ~mistaken, decided_at, decided_known)
    yield told("declined", mistaken, decided_at, put_right)

    funded = _first_of_lead(pairs, approved & happens("funded", pairs.p_take))
    funded_at = after(decided_at, "funded after", HOUR, 2.5 * DAY)
    yield told("funded", funded, funded_at, after(funded_at, "funded told", 60, 3 * HOUR))

    fails = funded & happens("fails", pairs.p_default)
    overdue_at = after(funded_at, "overdue after", 2 * MONTH, 3 * MONTH)
    for step, name in enumerate(("overdue_30", "overdue_60", "overdue_90")):
        at = overdue_at + np.timedelta64(step * MONTH, "s")
        yield told(name, fails, at, after(at, f"{name} told", HOUR, 6 * HOUR))
    term = asked.columns["term_months"][pairs.lead].astype(np.int64) * MONTH
    repaid_at = funded_at + term.astype("timedelta64[s]")
    yield told(
        "repaid", funded & ~fails, repaid_at, after(repaid_at, "repaid told", HOUR, 6 * HOUR)
    )


def _first_of_lead(pairs: Shown, wanted: BoolArray) -> BoolArray:
    """Return which wanted loan each lead takes: the one it was shown first, and no other."""
    rows = np.flatnonzero(wanted)
    rows = rows[np.lexsort((pairs.rank[rows], pairs.lead[rows]))]
    rows = rows[np.diff(pairs.lead[rows], prepend=-1) != 0]
    taken = np.zeros(wanted.size, np.bool_)
    taken[rows] = True
    return taken


def _landed(world: World, recorded: Moments, reports_daily: BoolArray) -> NDArray[np.datetime64]:
    """Return the date on which it is sent: its own, or the next day of reporting."""
    dates = world.business_dates(recorded)
    weekday = (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    wait = np.min([(day - weekday) % 7 for day in BATCH_DAYS], axis=0)
    return np.asarray(dates + np.where(reports_daily, 0, wait))
