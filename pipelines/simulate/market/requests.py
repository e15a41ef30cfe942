"""The leads of a day: who asks, through which channel, for what."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.simulate.market.channels import Channels, shares_on
from pipelines.simulate.market.channels import on as channels_on
from pipelines.simulate.market.lenders import SEGMENTS, Lenders
from pipelines.simulate.population import firms, identities, people
from pipelines.simulate.population.applicants import described, nothing
from pipelines.simulate.world import CURRENCY, Columns, Moments, Texts, World, numbered

AGAIN = 0.03
"""Share of leads that repeat another one of the day, through a channel of their own."""
RING = 9
"""Leads of one fraud ring: as many people, one device, within an hour."""
LEADS_PER_RING = 2_000
SCOPES = 64
"""Different lists of institutions that people consent to."""
LISTED = 12
"""Institutions on such a list, about."""
HOURS = [2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 11, 11, 11, 10, 10, 11, 13, 14, 13, 10, 5]
"""Leads by hour of the day, local time."""
LEFT_OUT = {
    "income_monthly": 0.03, "debt_monthly": 0.05, "housing": 0.04, "employment": 0.02,
    "ethnicity": 0.3, "device_id": 0.08, "invoices_12m": 0.15, "tax_paid_annual": 0.10,
}  # fmt: skip
"""Share of leads in which a column is not filled."""

Address = tuple[IntArray, IntArray]
"""Day and position within it: where in the world a lead is."""


@dataclass(frozen=True)
class Requests:
    """Leads of one day, in no order that means anything."""

    day: date
    number: IntArray
    """Which of the day's leads they are: what happens to a lead follows from its number alone."""
    columns: Columns
    """Columns of the leads feed."""
    channel: IntArray
    """Position of the channel."""
    captured: Moments
    who: Columns
    """What decides about the lead, one column each for people and firms: `is_firm`, `asker`
    (number of person or firm), `ring` (fraud ring of the day; -1: none), `region`, `industry`,
    `idle`, `age`, `income` (a month; a year's revenue of firms), `burden` (debt payments over
    income), `score`, `stability`, `hidden`."""

    @property
    def at(self) -> Address:
        """Where in the world these leads are."""
        return np.full(self.number.size, self.day.toordinal()), self.number


def requests(
    world: World, channels: Channels, lenders: Lenders, day: date, number: IntArray | None = None
) -> Requests:
    """Return leads of business date `day`.

    Args:
        world: The world.
        channels: Its channels.
        lenders: Its institutions.
        day: A business date.
        number: Which of the day's leads, without it all of them.
    """
    chance = world.chance
    number = np.arange(world.leads_per_day) if number is None else number
    at = (np.full(number.size, day.toordinal()), number)
    ring, first = _rings(world, at), _first_requests(world, at)
    channel, captured = arrivals(world, channels, day, number)
    channels = channels_on(world, channels, day)
    first_channel, _ = arrivals(world, channels, day, first)
    is_firm = chance.uniform("segment of lead", at[0], first) < channels.business[first_channel]
    is_firm &= ring < 0
    asker = _askers(world, is_firm, channels.quality[first_channel], (at[0], first))
    columns, who = described(world, day, is_firm, asker, (at[0], first))
    is_invented = chance.uniform("invented", *at) < channels.invented[channel]
    device = np.where(ring >= 0, 10**9 + at[0] * 10_000 + ring, asker + is_firm * 10**8)
    columns |= {
        "lead_id": numbered(f"{day:%y%m%d}-", number, 7),
        "captured_at": captured,
        "segment": SEGMENTS[is_firm.astype(np.int64)],
        "campaign_id": _campaigns(world, channels, channel, at),
        "phone": np.where(is_invented, _impossible(world, at), columns["phone"]),
        "device_id": identities.devices(chance, device),
        "currency": np.full(number.size, CURRENCY),
    }
    columns |= _consent(world, lenders, at, captured)
    for name, share in LEFT_OUT.items():
        missing = chance.uniform(f"left out {name}", *at) < share
        columns[name] = np.where(missing, nothing(columns[name]), columns[name])
    who |= {"is_firm": is_firm, "asker": asker, "ring": ring, "is_invented": is_invented}
    return Requests(day, number, columns, channel, captured, who)


def arrivals(
    world: World, channels: Channels, day: date, number: IntArray
) -> tuple[IntArray, Moments]:
    """Return through which channel the leads of these numbers come, and when."""
    channels = channels_on(world, channels, day)
    at = (np.full(number.size, day.toordinal()), number)
    ring = _rings(world, at)
    channel = world.chance.choice("channel", shares_on(world, channels, day).tolist(), *at)
    channel = np.where(ring >= 0, np.argmin(channels.quality), channel)
    return channel, _captured(world, at, ring, day)


def by_channel(world: World, channels: Channels, day: date) -> list[IntArray]:
    """Return the numbers of the day's leads by channel, each channel's in the order of capture."""
    number = np.arange(world.leads_per_day)
    channel, captured = arrivals(world, channels, day, number)
    order = np.lexsort((captured, channel))
    ends = np.cumsum(np.bincount(channel, minlength=world.channels))
    return np.split(number[order], ends[:-1])


def _rings(world: World, at: Address) -> IntArray:
    """Return the fraud ring of each lead, -1 for none."""
    day, number = at
    count = world.leads_per_day // LEADS_PER_RING
    if not count:
        return np.full(number.size, -1)
    size = world.leads_per_day // count
    ring = np.minimum(number // size, count - 1)
    place = number - ring * size - world.chance.below("ring", size - RING, ring, day)
    return np.where((place >= 0) & (place < RING), ring, -1)


def _first_requests(world: World, at: Address) -> IntArray:
    """Return of each lead the one that it repeats, most often itself."""

    def repeats(day: IntArray, number: IntArray) -> BoolArray:
        return world.chance.uniform("again", day, number) < AGAIN

    day, number = at
    of = world.chance.below("again of", world.leads_per_day, day, number)
    in_ring = (_rings(world, at) >= 0) | (_rings(world, (day, of)) >= 0)
    return np.where(repeats(day, number) & ~repeats(day, of) & ~in_ring, of, number)


def _askers(world: World, is_firm: BoolArray, quality: FloatArray, at: Address) -> IntArray:
    """Of two that might have come, a good channel brings more often the steadier one."""
    chance = world.chance
    limit = np.where(is_firm, world.firms, world.people)
    one, other = chance.below("asker", limit, *at), chance.below("other asker", limit, *at)

    def steadiness(number: IntArray) -> FloatArray:
        return np.where(is_firm, firms.stability(chance, number), people.stability(chance, number))

    selects = chance.uniform("selects", *at) < np.abs(quality)
    other_fits = (steadiness(other) > steadiness(one)) == (quality > 0)
    return np.where(selects & other_fits, other, one)


def _captured(world: World, at: Address, ring: IntArray, day: date) -> Moments:
    chance = world.chance
    hour = chance.choice("hour", HOURS, at[0], np.where(ring >= 0, 10**9 + ring, at[1]))
    second = chance.below("second", 3600, *at)
    return world.start_of(day) + (hour * 3600 + second).astype("timedelta64[s]")


def _campaigns(world: World, channels: Channels, channel: IntArray, at: Address) -> Texts:
    campaign = numbered("-c", 1 + world.chance.choice("campaign", [4, 3, 2, 1], *at), 1)
    return np.char.add(channels.name[channel], campaign)


def _impossible(world: World, at: Address) -> Texts:
    """Return phone numbers that no one can have: no mobile number begins with 12."""
    return numbered("+8612", world.chance.below("impossible phone", 10**9, *at), 9)


def _consent(world: World, lenders: Lenders, at: Address, captured: Moments) -> Columns:
    chance = world.chance
    share = min(0.3, LISTED / lenders.name.size)
    scopes = np.array(
        [
            "|".join(
                lenders.name[chance.uniform("scope", scope, np.arange(lenders.name.size)) < share]
            )
            for scope in range(SCOPES)
        ]
    )
    some = np.where(scopes == "", "all", scopes)[chance.below("consent list", SCOPES, *at)]
    given = captured - (20 + chance.below("consent before", 600, *at)).astype("timedelta64[s]")
    later = captured + (60 + chance.below("withdrawn after", 7200, *at)).astype("timedelta64[s]")
    withdrawn = chance.uniform("withdrawn", *at) < 0.005
    return {
        "consent_scope": np.where(chance.uniform("consent to all", *at) < 0.92, "all", some),
        "consent_at": given,
        "consent_version": np.full(captured.size, "2026-01"),
        "consent_withdrawn_at": np.where(withdrawn, later, np.datetime64("NaT")),
    }
