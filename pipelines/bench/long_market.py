"""A simulated market of many months, quick to play.

Leads come on one day in two weeks and outcomes are told on the next such day; invoices are known of
one month in three. So there are few files, and loans of every age.
"""

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
APART = timedelta(days=14)
QUARTERS = (1, 4, 7, 10)


def played(settings: Settings, days: int, leads: int, institutions: int, seed: int) -> date:
    """Write a market matched by broadcast and run it up to its marts; return their date.

    Args:
        settings: Whose home is empty.
        days: How many days bring leads, two weeks apart.
        leads: On each of them.
        institutions: Each with one to four products, whose terms stay.
        seed: Another seed is another market.
    """
    market = Market(World(settings, leads, institutions, CHANNELS, seed))
    mondays = [START + number * APART for number in range(days)]
    last = mondays[-1]
    market.land_catalogue(START, is_first=True)
    months = [date(year, month, 1) for year in (START.year, last.year) for month in QUARTERS]
    for month in sorted({month for month in months if START <= month <= last}):
        market.land_supply(month, is_first=month == START)
    told = list(chain.from_iterable(market.land_leads(day, last) for day in mondays))
    market.land_reported(_told_late(pa.concat_tables(told), last))
    ingest(settings, last)
    transform(settings, last)
    return last


def _told_late(outcomes: pa.Table, last: date) -> pa.Table:
    """Let each outcome land on the next day that brings leads."""
    place = outcomes.column_names.index("landed")
    days = (outcomes["landed"].to_numpy() - np.datetime64(START)).astype(int)
    next_day = np.datetime64(START) + -(-days // APART.days) * APART.days
    landed = outcomes.set_column(place, "landed", pa.array(next_day))
    return landed.filter(pa.array(next_day <= np.datetime64(last)))
