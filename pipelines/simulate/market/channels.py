"""Channels: what kind of people they bring, at what cost, and how honestly."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import exp
from pipelines.simulate.shocks import CHANNEL_TURNS_BAD
from pipelines.simulate.world import Texts, World

KINDS = ("search", "feed", "video", "store", "partner", "offline")
SHARE = np.array([22.0, 24, 26, 12, 10, 6])
"""Share of leads by kind of channel; this and all below are ours, for a lively small market."""
COST = np.array([58.0, 36, 28, 44, 70, 95])
"""Spend per lead, CNY."""
QUALITY = np.array([0.35, -0.1, -0.35, 0.1, 0.5, 0.3])
"""How strongly a channel brings the steadier (above 0) or the shakier of two people."""
BUSINESS = np.array([0.18, 0.08, 0.05, 0.10, 0.35, 0.30])
"""Share of leads that are businesses."""
INVENTED = np.array([0.002, 0.010, 0.020, 0.006, 0.004, 0.001])
"""Share of leads that nobody sent: the phone can't exist."""
WEEK = np.array([1.05, 1.08, 1.06, 1.04, 1.02, 0.90, 0.85])
"""Leads on Monday to Sunday against the average day, before each channel's own swing."""

TREND, TREND_FROM = 0.3, date(2025, 1, 1)
"""How far channels grow or shrink apart within a year (standard deviation of the logarithm)."""


@dataclass(frozen=True)
class Channels:
    """Columns of channels, in order."""

    name: Texts
    kind: IntArray
    share: FloatArray
    cost: FloatArray
    quality: FloatArray
    business: FloatArray
    invented: FloatArray


def all_channels(world: World) -> Channels:
    """Return the channels of the world."""
    number = np.arange(world.channels)
    kind = number % len(KINDS)
    chance = world.chance
    names = [f"{KINDS[k]}-{n // len(KINDS) + 1:02d}" for n, k in enumerate(kind)]
    bad = (chance.uniform("bad channel", number) < 0.1) & (kind > 0)
    return Channels(
        name=np.array(names),
        kind=kind,
        share=SHARE[kind] * (0.4 + 1.2 * chance.uniform("channel share", number)),
        cost=np.round(COST[kind] * (0.7 + 0.6 * chance.uniform("channel cost", number)), 2),
        quality=np.clip(QUALITY[kind] + 0.2 * chance.normal("channel quality", number), -0.9, 0.9),
        business=BUSINESS[kind],
        invented=np.where(bad, 0.08, INVENTED[kind]),
    )


def shares_on(world: World, those: Channels, day: date) -> FloatArray:
    """Return each channel's share of the leads of `day`; sums to about 1."""
    number = np.arange(world.channels)
    swing = 1 + 0.1 * world.chance.normal("channel week", number, np.int64(day.weekday()))
    years = (day - TREND_FROM).days / 365
    trend = exp(years * TREND * world.chance.normal("channel trend", number))
    weights = those.share * trend * np.clip(WEEK[day.weekday()] * swing, 0.2, 2)
    return np.asarray(weights / weights.sum())


def on(world: World, those: Channels, day: date) -> Channels:
    """Return the channels as they are on `day`, when one of them may have turned bad."""
    if not world.is_struck(CHANNEL_TURNS_BAD, day):
        return those
    is_bad = np.arange(world.channels) == np.argmax(those.share)
    return replace(
        those,
        quality=np.where(is_bad, -1.0, those.quality),
        invented=np.where(is_bad, 0.15, those.invented),
    )
