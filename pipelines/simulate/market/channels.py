"""Channels: their shares of leads, prices, lead quality and share of fake leads."""

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.simulate.keyed_random import rounded_exp
from pipelines.simulate.shocks import CHANNEL_TURNS_BAD
from pipelines.simulate.world import TextArray, World

KINDS = ("search", "feed", "video", "store", "partner", "offline")
SHARE = np.array([22.0, 24, 26, 12, 10, 6])
"""Weight of each kind of channel among leads; this and all below are ours."""
COST = np.array([58.0, 36, 28, 44, 70, 95])
"""Spend per lead, CNY."""
QUALITY = np.array([0.35, -0.1, -0.35, 0.1, 0.5, 0.3])
"""Selection by a channel: above 0 it prefers the more stable of two people, below 0 the less."""
BUSINESS = np.array([0.18, 0.08, 0.05, 0.10, 0.35, 0.30])
"""Share of leads that are businesses."""
FAKE = np.array([0.002, 0.010, 0.020, 0.006, 0.004, 0.001])
"""Share of fake leads: nobody sent them, and the phone cannot exist."""
WEEKDAY = np.array([1.05, 1.08, 1.06, 1.04, 1.02, 0.90, 0.85])
"""Leads on Monday to Sunday relative to the average day, before each channel's own variation."""

TREND, TREND_FROM = 0.3, date(2025, 1, 1)
"""Standard deviation of a channel's growth within a year, in logarithm."""


@dataclass(frozen=True)
class Channels:
    """Columns of channels, in order."""

    name: TextArray
    kind: IntArray
    share: FloatArray
    cost: FloatArray
    quality: FloatArray
    business: FloatArray
    fake: FloatArray


def generate_channels(world: World) -> Channels:
    """Return the channels of the world."""
    number = np.arange(world.channels)
    kind = number % len(KINDS)
    random = world.random
    names = [f"{KINDS[k]}-{n // len(KINDS) + 1:02d}" for n, k in enumerate(kind)]
    is_bad = (random.uniform("bad channel", number) < 0.1) & (kind > 0)
    return Channels(
        name=np.array(names),
        kind=kind,
        share=SHARE[kind] * (0.4 + 1.2 * random.uniform("channel share", number)),
        cost=np.round(COST[kind] * (0.7 + 0.6 * random.uniform("channel cost", number)), 2),
        quality=np.clip(QUALITY[kind] + 0.2 * random.normal("channel quality", number), -0.9, 0.9),
        business=BUSINESS[kind],
        fake=np.where(is_bad, 0.08, FAKE[kind]),
    )


def channel_shares(world: World, channels: Channels, day: date) -> FloatArray:
    """Return each channel's share of the leads of `day`."""
    number = np.arange(world.channels)
    variation = 1 + 0.1 * world.random.normal("channel week", number, np.int64(day.weekday()))
    years = (day - TREND_FROM).days / 365
    trend = rounded_exp(years * TREND * world.random.normal("channel trend", number))
    weights = channels.share * trend * np.clip(WEEKDAY[day.weekday()] * variation, 0.2, 2)
    return np.asarray(weights / weights.sum())


def channels_on(world: World, channels: Channels, day: date) -> Channels:
    """Return the channels on `day`, after the shock `channel_turns_bad` if it is in force."""
    if not world.has_shock(CHANNEL_TURNS_BAD, day):
        return channels
    is_bad = np.arange(world.channels) == np.argmax(channels.share)
    return replace(
        channels,
        quality=np.where(is_bad, -1.0, channels.quality),
        fake=np.where(is_bad, 0.15, channels.fake),
    )
