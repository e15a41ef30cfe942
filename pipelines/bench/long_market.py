"""A simulated market of many months, quick to play: leads on one day a week, outcomes by the week."""

from datetime import date, timedelta
from itertools import chain

import numpy as np
import pyarrow as pa

from pipelines.ingest import ingest
from pipelines.settings import Settings
from pipelines.simulate.market import Market
from pipelines.simulate.world import World
from pipelines.transform.build import transform

START = date(2024, 1, 1)
"""A Monday, and early enough that no price cap comes in between."""
CHANNELS = 5
WEEK = 7


def played(settings: Settings, weeks: int, leads: int, institutions: int, seed: int) -> date:
    """Write a market matched by broadcast and run it up to its marts; return their date.

    Args:
        settings: Whose home is empty.
        weeks: How many Mondays bring leads.
        leads: On each of them.
        institutions: Each with one to four products, whose terms stay.
        seed: Another seed is another market.
    """
    market = Market(World(settings, leads, institutions, CHANNELS, seed))
    days = [START + timedelta(days=WEEK * week) for week in range(weeks)]
    last = days[-1]
    market.land_catalogue(START, is_first=True)
    for number in range((last - START).days + 1):
        market.land_supply(START + timedelta(days=number), is_first=number == 0)
    told = list(chain.from_iterable(market.land_leads(day, last) for day in days))
    market.land_reported(_by_week(pa.concat_tables(told), last))
    ingest(settings, last)
    transform(settings, last)
    return last


def _by_week(outcomes: pa.Table, last: date) -> pa.Table:
    """Let each outcome land on the Monday after, as if all lenders reported once a week."""
    place = outcomes.column_names.index("landed")
    days = (outcomes["landed"].to_numpy() - np.datetime64(START)).astype(int)
    mondays = np.datetime64(START) + -(-days // WEEK) * WEEK
    landed = outcomes.set_column(place, "landed", pa.array(mondays))
    return landed.filter(pa.array(mondays <= np.datetime64(last)))
