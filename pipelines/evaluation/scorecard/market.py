"""What every policy finds on a day: its leads, the pairs that may be shown, the quotas."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STATED_STEPS, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products


@dataclass(frozen=True)
class DayMarket:
    """A business date as every policy finds it."""

    day: date
    leads: pa.Table
    """`channel_id`, `lead_id`, `term_months` and so on of the leads that were not set aside."""
    products: pa.Table
    """The open ones, with their ids, prices and `daily_quota`."""
    institution: IntArray
    """Code of each product's institution."""
    lead: IntArray
    """Of each pair: the row of its lead. Pairs are ordered by lead and product."""
    product: IntArray
    """Of each pair: the row of its product."""
    published: IntArray
    """Of each pair: its rank among the published matches of its lead; 0 if it is none."""

    @property
    def quota(self) -> IntArray:
        """Return the most leads of each product on the day."""
        return np.asarray(self.products["daily_quota"].to_numpy(), np.int64)

    @property
    def price(self) -> FloatArray:
        """Return what each pair pays at most, in the base currency: a share of all asked for."""
        model = np.asarray(self.products["price_model"].to_pylist(), np.str_)[self.product]
        price, rate = (self.of_product(name) for name in ("price", "exchange_rate"))
        return np.where(model == "cps", price * self.of_lead("amount"), price) * rate

    def of_lead(self, column: str) -> FloatArray:
        """Return a number of each pair's lead; NaN where it isn't known."""
        return _numbers(self.leads[column])[self.lead]

    def of_product(self, column: str) -> FloatArray:
        """Return a number of each pair's product; NaN where it isn't known."""
        return _numbers(self.products[column])[self.product]


def load_market(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> DayMarket:
    """Return the market of `day`.

    A pair may be shown if consent, suppressions, the limits and hard rules of the catalogue and
    the price cap allow it. What Banyan's models think of it has no say: else they would shape
    what Banyan is compared with.

    Raises:
        InputMissing: The day's marts or matches are not published, or do not belong together.
    """
    marts, matches = (settings.day_folder(root, day) for root in (settings.marts, settings.matches))
    for folder in (marts, matches):
        read_manifest(folder)
    load_leads(connection, marts)
    judged = find_eligible_pairs(
        connection, load_products(connection, marts, day), day, STATED_STEPS
    )
    connection.register("eligible", judged.pairs_between())
    leads = connection.sql("from leads order by lead_row").to_arrow_table()
    products = connection.sql(
        "select *, dense_rank() over (order by institution_id) - 1 as institution "
        "from products order by product_row"
    ).to_arrow_table()
    matched = matches / "matches.parquet"
    pairs = connection.execute(_PAIRS, {"matches": str(matched)}).fetchnumpy()
    market = DayMarket(
        day=day,
        leads=leads,
        products=products,
        institution=_integers(products["institution"].to_numpy()),
        lead=_integers(pairs["lead_row"]),
        product=_integers(pairs["product_row"]),
        published=_integers(pairs["rank"]),
    )
    published, found = pq.read_metadata(matched).num_rows, np.count_nonzero(market.published)
    if found != published:
        raise InputMissing(
            f"{published - found:,} of {published:,} matches of {day} are not among the pairs that "
            "the day's marts allow, which were built again since. No scorecard was made. Run the "
            "whole day again."
        )
    return market


_PAIRS = """
    with published as (
        select lead_row, product_row, rank
        from read_parquet($matches, hive_partitioning = false)
        join leads using (channel_id, lead_id)
        join products using (institution_id, product_id)
    )

    select lead_row, product_row, coalesce(rank, 0) as rank
    from eligible left join published using (lead_row, product_row)
    order by lead_row, product_row
"""


def _integers(column: NDArray[np.generic]) -> IntArray:
    return np.asarray(column, np.int64)


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
