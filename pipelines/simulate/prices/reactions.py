"""Prices react to what they buy: each week of a season, a product changes its bid.

A product compares what it paid for one unit of yearly yield, fees and handling of applications,
with what a random draw of its leads would cost at its calibrated price: what it can bear, since
under broadcast it lives with that. Expected results count, as the truth has them. The constants are
ours. A product whose fees bought little bids less, then pauses, then leaves; one that is served
well bids more, within bounds. So a platform that dumps leads on a product loses its fees.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.publishing import write_parquet
from pipelines.simulate.world import TextArray

FOLDER = "prices"
"""Below `truth/`: the bids from each Monday on."""
DAYS = 7
LEAST_LEADS = 10
"""Leads of a week from which a product judges what it bought."""
POOR, GOOD = 0.8, 1.25
"""Cost of a random draw over the cost paid: below the first the fees bought little, above the
second the product was served well."""
CUT, RAISE = 0.9, 1.04
"""Factors on the bid after a poor and after a good week."""
LOWEST, HIGHEST = 0.5, 1.2
"""Bounds of a bid, as a share of the calibrated price."""
POOR_WEEKS, PAUSE = 3, timedelta(days=14)
"""A product pauses after so many poor weeks in a row, and leaves when it would pause again."""


@dataclass(frozen=True)
class Bids:
    """What the products bid from a day on: columns of one length, in the order of the products."""

    factor: FloatArray
    """Share of the calibrated price."""
    poor_weeks: IntArray
    """Poor weeks in a row."""
    pauses: IntArray
    """Pauses so far."""
    paused_until: IntArray
    """Ordinal of the first day after the pause; 0: none yet."""
    left_on: IntArray
    """Ordinal of the day on which it left the market; 0: it is there."""

    @classmethod
    def at_start(cls, products: int) -> "Bids":
        """Return the calibrated prices, which hold until a season has results."""
        none = np.zeros(products, np.int64)
        return cls(np.ones(products), none, none, none, none)

    def is_open(self, day: date) -> BoolArray:
        """Return which products neither pause nor have left on `day`."""
        is_present = self.left_on == 0
        return np.asarray(is_present & (self.paused_until <= day.toordinal()))

    def differs(self, other: "Bids", day: date) -> BoolArray:
        """Return which products have other terms on `day` than `other` had the day before."""
        before = other.is_open(day - timedelta(days=1))
        return np.asarray((self.factor != other.factor) | (self.is_open(day) != before))


@dataclass(frozen=True)
class WeekResults:
    """What each product got in a week: columns in the order of the products."""

    leads: FloatArray
    cost: FloatArray
    """Expected fees and handling of applications, in currency."""
    interest: FloatArray
    """Expected interest of its loans in a year."""


def react(bids: Bids, week: WeekResults, broadcast_cost: FloatArray, day: date) -> Bids:
    """Return the bids from `day` on, after the results of the week before.

    Args:
        bids: The bids of that week.
        week: What the products got for them.
        broadcast_cost: Cost of one unit of yield of a random draw, see `measure_broadcast_cost`.
        day: The Monday after the week.
    """
    service = measure_service(week, broadcast_cost)
    judges = (week.leads >= LEAST_LEADS) & bids.is_open(day) & ~np.isnan(service)
    is_poor, is_good = judges & (service < POOR), judges & (service > GOOD)
    factor = np.where(is_poor, bids.factor * CUT, bids.factor)
    factor = np.where(is_good, bids.factor * RAISE, factor)
    poor_weeks = np.where(is_poor, bids.poor_weeks + 1, np.where(judges, 0, bids.poor_weeks))
    gives_up = poor_weeks >= POOR_WEEKS
    leaves = gives_up & (bids.pauses > 0)
    pauses = gives_up & ~leaves
    return replace(
        bids,
        factor=np.round(np.clip(factor, LOWEST, HIGHEST), 4),
        poor_weeks=np.where(gives_up, 0, poor_weeks),
        pauses=bids.pauses + pauses,
        paused_until=np.where(pauses, (day + PAUSE).toordinal(), bids.paused_until),
        left_on=np.where(leaves, day.toordinal(), bids.left_on),
    )


def measure_service(week: WeekResults, broadcast_cost: FloatArray) -> FloatArray:
    """Return the cost of a random draw over the cost paid, by product; NaN where not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        service = broadcast_cost * week.interest / week.cost
    return np.where(np.isfinite(service), service, np.nan)


def store_bids(
    truth: Path, day: date, bids: Bids, product_id: TextArray, facts: Mapping[str, FloatArray]
) -> None:
    """Store the bids from `day` on, with `facts` of the week before for readers."""
    table = pa.table({"product_id": product_id, **facts, **vars(bids)})
    write_parquet(table, truth / FOLDER / f"date={day}" / "bids.parquet")


def load_bids(truth: Path, day: date, products: int) -> Bids:
    """Return the bids that are in force on `day`; the calibrated prices if none were stored."""
    stored = {
        date.fromisoformat(path.parent.name.removeprefix("date=")): path
        for path in (truth / FOLDER).glob("date=*/bids.parquet")
    }
    last = max((stated for stated in stored if stated <= day), default=None)
    if last is None:
        return Bids.at_start(products)
    table = pq.read_table(stored[last], partitioning=None)
    return Bids(**{name: table[name].to_numpy() for name in Bids.__dataclass_fields__})
