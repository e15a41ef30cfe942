"""What every policy finds on a day: its leads with their cost, eligible pairs, quotas."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.errors import InputMissing
from pipelines.known import create_known_view
from pipelines.pairs.eligibility import load_leads, load_products
from pipelines.publish import read_manifest
from pipelines.scorecard.greedy import Integers, Numbers
from pipelines.settings import Settings


@dataclass(frozen=True)
class DayMarket:
    """A business date as every policy finds it."""

    day: date
    cost: Numbers
    """Of each lead that was loaded, set aside or not; in the base currency."""
    pairs: pa.Table
    """`lead`, `institution`, `product` (codes) and their ids, `price_in_money`, `rank` (among
    the published matches; 0: none) and what a value is computed from; ordered by key."""
    quota: Integers
    """Most leads of each product on the day."""

    def numbers(self, column: str) -> NDArray[np.int64]:
        """Return a whole-number column of the pairs."""
        return np.asarray(self.pairs[column].to_numpy(), np.int64)


def load_market(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> DayMarket:
    """Return the market of `day`; create tables `received`, `products` and view `matches`.

    The eligible pairs are those that `score` published: all that pass consent, hard rules, price
    cap and risk band, and are worth making by the models.

    Raises:
        InputMissing: The day's marts, pairs or matches are not published, or a match isn't among
            the pairs.
    """
    marts, pairs, matches = (
        settings.of_day(root, day) for root in (settings.marts, settings.pairs, settings.matches)
    )
    for folder in (marts, pairs, matches):
        read_manifest(folder)
    load_leads(connection, marts)
    load_products(connection, marts, day)
    create_known_view(connection, settings, "channel_spend", date.max)
    files = {"received_leads": marts / "leads", "pairs": pairs / "pairs"}
    for name, file in (files | {"matches": matches / "matches"}).items():
        connection.read_parquet(f"{file}.parquet", hive_partitioning=False).create_view(
            name, replace=True
        )
    connection.execute(_RECEIVED, {"day": day})
    quota = connection.sql("select daily_quota from products order by product_row").fetchnumpy()
    cost = connection.sql("select cost from received order by lead").fetchnumpy()
    market = DayMarket(
        day=day,
        cost=np.asarray(cost["cost"], np.float64),
        pairs=connection.sql(_PAIRS).to_arrow_table(),
        quota=np.asarray(quota["daily_quota"], np.int64),
    )
    _must_be_among_the_pairs(matches, market)
    return market


def _must_be_among_the_pairs(matches: Path, market: DayMarket) -> None:
    published = pq.read_metadata(matches / "matches.parquet").num_rows
    found = int((market.numbers("rank") > 0).sum())
    if found != published:
        raise InputMissing(
            f"{published - found:,} of {published:,} matches of {market.day} are not among the "
            "day's pairs, which were scored again since. No scorecard was made. Run the step "
            "`match` for the date, or the whole day."
        )


_RECEIVED = """
    create or replace table received as
    with

    reports as (
        select channel_id, campaign_id, spend * exchange_rate as spend
        from channel_spend join rates using (currency)
        where date = $day
        qualify row_number() over (
            partition by channel_id, campaign_id, currency order by known_at desc, spend
        ) = 1
    ),

    spent as (select channel_id, sum(spend) as spend from reports group by channel_id)

    select
        row_number() over (order by channel_id, lead_id) - 1 as lead,
        channel_id, lead_id,
        coalesce(
            spend / count(*) over (partition by channel_id), cost_per_lead, 0
        ) as cost
    from received_leads
    left join spent using (channel_id)
    left join channel_costs using (channel_id)
    order by lead
"""
"""A lead costs what its channel spent on the day, shared by the leads loaded from it. Where that
isn't reported yet, it costs what a lead of the channel had cost before."""

_PAIRS = """
    select
        received.lead, products.product_row as product,
        dense_rank() over (order by pairs.institution_id) - 1 as institution,
        pairs.channel_id, pairs.lead_id, pairs.institution_id, pairs.product_id,
        pairs.amount, pairs.term_months, products.term_max_months, products.price_model,
        products.price, products.reference_apr, products.exchange_rate,
        received.cost as cost_per_lead,
        products.price * products.exchange_rate
        * case products.price_model when 'cps' then pairs.amount else 1 end as price_in_money,
        coalesce(matches.rank, 0) as rank
    from pairs
    join received using (channel_id, lead_id)
    join products using (institution_id, product_id)
    left join matches using (channel_id, lead_id, institution_id, product_id)
    order by lead, product
"""
