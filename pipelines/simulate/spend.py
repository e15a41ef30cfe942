"""What channels cost."""

from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.simulate.channels import Channels, shares_on
from pipelines.simulate.world import CURRENCY, World

CAMPAIGNS = np.array([4, 3, 2, 1]) / 10
"""Shares of a channel's campaigns."""


def spend(world: World, those: Channels, days: list[date]) -> pa.Table:
    """Return the spend of every channel's campaigns on these days, with the channel's position."""
    chance = world.chance
    when = np.array([day.toordinal() for day in days])
    share = np.stack([shares_on(world, those, day.weekday()) for day in days])
    expected = world.leads_per_day * share[:, :, None] * CAMPAIGNS
    day, channel, campaign = (axis.ravel() for axis in np.indices(expected.shape))
    address = (when[day], channel, campaign)
    leads = expected.ravel() * (1 + 0.08 * chance.normal("spend", *address))
    clicks = np.floor(leads * (6 + 6 * chance.uniform("clicks", *address))).astype(np.int64)
    shows = np.floor(clicks * (30 + 40 * chance.uniform("shows", *address))).astype(np.int64)
    numbers = (campaign + 1).astype(np.str_)
    return pa.table(
        {
            "channel": channel,
            "date": pa.array(np.array(days, "datetime64[D]")[day], pa.date32()),
            "campaign_id": np.char.add(np.char.add(those.name[channel], "-c"), numbers),
            "impressions": shows,
            "clicks": clicks,
            "spend": np.round(leads * those.cost[channel], 2),
            "currency": np.full(day.size, CURRENCY),
        }
    )
