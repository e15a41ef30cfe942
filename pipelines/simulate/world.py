"""The size and seed of a simulated world, and what follows from them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import IntArray
from pipelines.core.settings import Settings
from pipelines.simulate.keyed_random import Chance
from pipelines.simulate.shocks import PRICE_CAP, Shock

Texts = NDArray[np.str_]
Moments = NDArray[np.datetime64]
"""UTC, in seconds."""
Columns = dict[str, NDArray[Any]]
"""Columns of one length; empty text, NaN and NaT are missing."""

PLATFORM = "market"
CURRENCY = "CNY"

# GB/T 2260: a place in each province that has had its code for as long as anyone in here has lived.
PLACES = np.array(
    [
        110101, 120101, 130200, 140121, 150121, 210224, 220200, 230200, 310101, 320200,
        330122, 340121, 350121, 360121, 370200, 410200, 420200, 430121, 440200, 450200,
        510121, 520200, 530124, 540121, 610200, 620121, 632200, 640121, 650121,
    ]
)  # fmt: skip
PROVINCES = "BJ TJ HE SX NM LN JL HL SH JS ZJ AH FJ JX SD HA HB HN GD GX SC GZ YN XZ SN GS QH NX XJ"
REGIONS = np.char.add("CN-", np.array(PROVINCES.split()))
"""Regions by ISO 3166-2, in the order of `PLACES`."""
PEOPLE = np.array(
    [22, 14, 74, 35, 24, 42, 24, 31, 25, 85, 65, 61, 42, 45, 101, 98, 57, 66, 127, 50,
     84, 39, 47, 4, 40, 25, 6, 7, 26]
)  # fmt: skip
"""Inhabitants of each region in millions, about (census of 2020)."""
WEALTH = np.array(
    [1.6, 0.7, -0.3, -0.3, 0.1, -0.1, -0.5, -0.6, 1.7, 0.9, 1.0, -0.1, 0.7, -0.2, 0.2, -0.3,
     0.1, 0.0, 0.7, -0.4, -0.1, -0.5, -0.4, -0.2, -0.1, -0.7, -0.3, -0.3, -0.2]
)  # fmt: skip
"""How far a region's incomes lie from the country's, in rough standard deviations; ours."""

DEAREST, CAPPED, CAPPED_FROM = 0.36, 0.24, date(2025, 10, 1)
"""What the dearest loan costs a year, all in: the lawful 36% of the time, then 24%."""
SHOCKED = 2 / 3
"""What a price cap leaves of it, when it comes as a shock."""


@dataclass(frozen=True)
class World:
    """A market: everything in it is a function of these and of a date."""

    settings: Settings
    leads_per_day: int
    institutions: int
    channels: int
    seed: int
    shocks: tuple[Shock, ...] = ()

    def is_struck(self, name: str, day: date) -> bool:
        """Return whether the shock of this name has come by `day`."""
        return any(shock.name == name and shock.on <= day for shock in self.shocks)

    def dearest(self, day: date) -> float:
        """Return what the dearest loan costs a year on `day`, a fraction."""
        return round(lawful(day) * (SHOCKED if self.is_struck(PRICE_CAP, day) else 1), 4)

    @cached_property
    def chance(self) -> Chance:
        """Return the world's randomness."""
        return Chance(self.seed)

    @cached_property
    def people(self) -> int:
        """People who may ask; one in some hundred asks on a day, so that some come again."""
        return 300 * self.leads_per_day

    @cached_property
    def firms(self) -> int:
        """Firms that may ask, and that buy from each other."""
        return 12 * self.leads_per_day + 50

    def start_of(self, day: date) -> np.datetime64:
        """Return the first moment of business date `day`, UTC."""
        start = self.settings.day_start(day).astimezone(UTC)
        return np.datetime64(start.replace(tzinfo=None), "s")

    def business_dates(self, moments: Moments) -> NDArray[np.datetime64]:
        """Return the business date of each moment."""
        days, place = np.unique(moments.astype("datetime64[h]"), return_inverse=True)
        zone = self.settings.zone
        dates = [
            datetime.fromisoformat(f"{hour}:00+00:00").astimezone(zone).date() for hour in days
        ]
        return np.array(dates, "datetime64[D]")[place]


def lawful(day: date) -> float:
    """Return the highest cost of a loan a year that is allowed on `day`, a fraction."""
    return DEAREST if day < CAPPED_FROM else CAPPED


def numbered(prefix: str, numbers: IntArray, width: int) -> Texts:
    """Return `prefix` followed by each number, with zeros before it up to `width` digits."""
    if not numbers.size:  # NumPy finds no longest of no texts
        return np.empty(0, f"U{len(prefix) + width}")
    return np.char.add(prefix, np.char.zfill(numbers.astype(np.str_), width))
