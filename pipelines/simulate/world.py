"""The size and seed of a simulated world, its regions and rate caps, and work in chunks."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.core.arrays import IntArray
from pipelines.core.settings import Settings
from pipelines.simulate.keyed_random import KeyedRandom
from pipelines.simulate.shocks import PRICE_CAP, Shock

Item = TypeVar("Item")
Result = TypeVar("Result")

TextArray = NDArray[np.str_]
TimeArray = NDArray[np.datetime64]
"""UTC, in seconds."""
Columns = dict[str, NDArray[Any]]
"""Columns of one length; empty text, NaN and NaT are missing values."""

PLATFORM = "market"
CURRENCY = "CNY"

# GB/T 2260: in each province one county whose code is older than every simulated person.
REGION_CODES = np.array(
    [
        110101, 120101, 130200, 140121, 150121, 210224, 220200, 230200, 310101, 320200,
        330122, 340121, 350121, 360121, 370200, 410200, 420200, 430121, 440200, 450200,
        510121, 520200, 530124, 540121, 610200, 620121, 632200, 640121, 650121,
    ]
)  # fmt: skip
PROVINCES = "BJ TJ HE SX NM LN JL HL SH JS ZJ AH FJ JX SD HA HB HN GD GX SC GZ YN XZ SN GS QH NX XJ"
REGIONS = np.char.add("CN-", np.array(PROVINCES.split()))
"""Regions by ISO 3166-2, in the order of `REGION_CODES`."""
REGION_POPULATION = np.array(
    [22, 14, 74, 35, 24, 42, 24, 31, 25, 85, 65, 61, 42, 45, 101, 98, 57, 66, 127, 50,
     84, 39, 47, 4, 40, 25, 6, 7, 26]
)  # fmt: skip
"""Inhabitants of each region in millions, about (census of 2020)."""
REGION_INCOME = np.array(
    [1.6, 0.7, -0.3, -0.3, 0.1, -0.1, -0.5, -0.6, 1.7, 0.9, 1.0, -0.1, 0.7, -0.2, 0.2, -0.3,
     0.1, 0.0, 0.7, -0.4, -0.1, -0.5, -0.4, -0.2, -0.1, -0.7, -0.3, -0.3, -0.2]
)  # fmt: skip
"""Distance of a region's incomes from the country's, in rough standard deviations; ours."""

FORMER_RATE_CAP, RATE_CAP, RATE_CAP_FROM = 0.36, 0.24, date(2025, 10, 1)
"""Lawful ceiling of a loan's all-in rate a year: 36%, from `RATE_CAP_FROM` on 24%."""
RATE_AFTER_SHOCK = 2 / 3
"""Share of the ceiling that remains after the price cap shock."""

CHUNK_SIZE = 32_768
"""Numbers in a chunk: enough for vector operations to pay, few enough for a processor's cache."""


class Contagion(StrEnum):
    """How far a failure travels up the chain, from a buyer to its sellers."""

    NONE = "none"
    """Firms fail and pay independently of each other, and no sector falls."""
    HOP1 = "hop1"
    """A failure reaches the sellers of the firm that failed."""
    HOP2 = "hop2"
    """It reaches the sellers of these sellers too, at half the strength."""


@dataclass(frozen=True)
class World:
    """A market: everything in it is a function of these fields and of a date."""

    settings: Settings
    leads_per_day: int
    institutions: int
    channels: int
    seed: int
    shocks: tuple[Shock, ...] = ()
    sealed: float = 0.0
    """Share of institutions whose lead files are encrypted."""
    contagion: Contagion = Contagion.HOP1
    """How far a firm's failure travels up its supply chain."""
    seller_share: float = 0.3
    """Share of firms that invoice another simulated firm in a month."""

    def has_shock(self, name: str, day: date) -> bool:
        """Return whether the shock `name` is in force on `day`."""
        return any(shock.name == name and shock.on <= day for shock in self.shocks)

    def highest_rate(self, day: date) -> float:
        """Return the all-in rate of the most expensive loan on `day`, a fraction a year."""
        share = RATE_AFTER_SHOCK if self.has_shock(PRICE_CAP, day) else 1
        return round(lawful_rate(day) * share, 4)

    @cached_property
    def random(self) -> KeyedRandom:
        """The world's random numbers."""
        return KeyedRandom(self.seed)

    @cached_property
    def people(self) -> int:
        """People who may apply; about one in 300 applies on a day, so some apply again."""
        return 300 * self.leads_per_day

    @cached_property
    def firms(self) -> int:
        """Firms that may apply, and that buy from each other."""
        return 12 * self.leads_per_day + 50

    def start_of(self, day: date) -> np.datetime64:
        """Return the first moment of business date `day`, UTC."""
        start = self.settings.day_start(day).astimezone(UTC)
        return np.datetime64(start.replace(tzinfo=None), "s")

    def business_dates(self, moments: TimeArray) -> NDArray[np.datetime64]:
        """Return the business date of each moment."""
        hours, position = np.unique(moments.astype("datetime64[h]"), return_inverse=True)
        zone = self.settings.zone
        dates = [
            datetime.fromisoformat(f"{hour}:00+00:00").astimezone(zone).date() for hour in hours
        ]
        return np.array(dates, "datetime64[D]")[position]


def lawful_rate(day: date) -> float:
    """Return the lawful ceiling of a loan's all-in rate on `day`, a fraction a year."""
    return FORMER_RATE_CAP if day < RATE_CAP_FROM else RATE_CAP


def format_ids(prefix: str, numbers: IntArray, width: int) -> TextArray:
    """Return `prefix` and each number, padded with zeros to `width` digits."""
    if not numbers.size:  # NumPy cannot compute the longest of no texts
        return np.empty(0, f"U{len(prefix) + width}")
    return np.char.add(prefix, np.char.zfill(numbers.astype(np.str_), width))


def split_into_chunks(numbers: IntArray) -> list[IntArray]:
    """Return `numbers` in chunks of at most `CHUNK_SIZE`, in order; at least one, possibly empty.

    A lead or firm is a function of its number (see `keyed_random`), so the chunks change nothing.
    """
    return np.split(numbers, range(CHUNK_SIZE, numbers.size, CHUNK_SIZE))


def map_in_threads(
    threads: int, function: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """Return the function's results in the order of `items`.

    NumPy and Arrow release Python's global lock while they compute, so threads are enough.
    """
    if threads == 1 or len(items) == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
