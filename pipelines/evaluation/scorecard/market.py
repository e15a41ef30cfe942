"""The inputs that every policy has on a day: leads, eligible pairs and quotas."""

import math
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.database import run_query
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.pairs.eligibility.engine import STATED_STEPS, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.valuation import least_odds_sql

ELIGIBLE_PAIRS = Path(__file__).parent / "sql" / "eligible_pairs.sql"


@dataclass(frozen=True)
class DayMarket:
    """The leads, open products and eligible pairs of a business date."""

    day: date
    leads: pa.Table
    """`channel_id`, `lead_id`, `term_months` and so on of the leads that are not excluded."""
    products: pa.Table
    """The open products with their ids, prices and `daily_quota`."""
    institution: IntArray
    """Code of each product's institution."""
    lead: IntArray
    """Row of each pair's lead. Pairs are ordered by lead and product."""
    offers_lead: IntArray
    """Row of the lead whose offers each pair counts to: leads of one phone share one's offers."""
    product: IntArray
    """Row of each pair's product."""
    published: IntArray
    """Rank of each pair among the published matches of its lead; 0 if it is none."""
    least_fees: float
    """Least expected fees that the published plan was to earn, in the base currency."""
    least_odds: FloatArray
    """Least probability of approval that an offer of each pair must have."""

    @property
    def quota(self) -> IntArray:
        """Return the daily quota of each product."""
        return np.asarray(self.products["daily_quota"].to_numpy(), np.int64)

    @property
    def budget(self) -> FloatArray:
        """Return the daily budget of each product in its currency; infinite without one."""
        budget = _floats(self.products["daily_budget"])
        return np.where(np.isnan(budget), np.inf, budget)

    @property
    def price(self) -> FloatArray:
        """Return the most that each pair pays, in the base currency: a share of the full amount."""
        model = np.asarray(self.products["price_model"].to_pylist(), np.str_)[self.product]
        price, rate = (self.product_column(name) for name in ("price", "exchange_rate"))
        return np.where(model == "cps", price * self.lead_column("matched_amount"), price) * rate

    def lead_column(self, name: str) -> FloatArray:
        """Return a number of each pair's lead; NaN if it isn't known."""
        return _floats(self.leads[name])[self.lead]

    def product_column(self, name: str) -> FloatArray:
        """Return a number of each pair's product; NaN if it isn't known."""
        return _floats(self.products[name])[self.product]


def load_market(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> DayMarket:
    """Return the market of `day`.

    A pair is eligible by consent, suppressions, the limits and hard rules of the catalogue and the
    price cap. Predictions play no part: else the models would shape what they are compared with.

    Raises:
        InputMissing: The day's marts or matches are not published, or do not belong together.
    """
    marts, matches = (settings.day_folder(root, day) for root in (settings.marts, settings.matches))
    read_manifest(marts)
    published_facts = read_manifest(matches)
    load_leads(connection, marts)
    eligible = find_eligible_pairs(
        connection, load_products(connection, marts, day), day, STATED_STEPS
    )
    connection.register("eligible", eligible.select_pairs_between())
    leads = connection.sql("from leads order by lead_row").to_arrow_table()
    products = connection.sql(
        "select *, dense_rank() over (order by institution_id) - 1 as institution "
        "from products order by product_row"
    ).to_arrow_table()
    matched = matches / "matches.parquet"
    pairs = run_query(connection, ELIGIBLE_PAIRS, {"matches": str(matched)}).fetchnumpy()
    market = DayMarket(
        day=day,
        leads=leads,
        products=products,
        institution=_integers(products["institution"].to_numpy()),
        lead=_integers(pairs["lead_row"]),
        offers_lead=_integers(pairs["offers_row"]),
        product=_integers(pairs["product_row"]),
        published=_integers(pairs["rank"]),
        least_fees=published_facts.get("least_fees", 0.0),
        least_odds=_least_odds(connection, day)[_integers(pairs["lead_row"])],
    )
    published, found = pq.read_metadata(matched).num_rows, np.count_nonzero(market.published)
    if found != published:
        raise InputMissing(
            f"{published - found:,} of {published:,} matches of {day} are not among the eligible "
            "pairs of the day's marts, which were built again since. No scorecard was made. Run "
            "the whole day again."
        )
    return market


def sample_market(market: DayMarket, max_pairs: int) -> tuple[DayMarket, int]:
    """Return a market of every n-th lead with an n-th of each limit, and n.

    Args:
        market: The market of a day.
        max_pairs: About how many pairs the sample has at most.
    """
    every = max(1, math.ceil(market.lead.size / max_pairs))
    if every == 1:
        return market, 1
    rows = np.flatnonzero(market.offers_lead % every == 0)
    products = market.products
    limits = {
        "daily_quota": pa.array(np.ceil(market.quota / every).astype(np.int64)),
        "daily_budget": pa.array(market.budget / every, from_pandas=True),
    }
    for name, column in limits.items():
        products = products.set_column(products.schema.get_field_index(name), name, column)
    columns = ("lead", "offers_lead", "product", "published", "least_odds")
    taken = {name: getattr(market, name)[rows] for name in columns}
    least_fees = market.least_fees / every
    return replace(market, products=products, least_fees=least_fees, **taken), every


def _least_odds(connection: duckdb.DuckDBPyConnection, day: date) -> FloatArray:
    """Return the least odds of an approval that the guarantees of `day` require, by lead."""
    found = connection.sql(
        f"select cast({least_odds_sql(day)} as double) as odds from leads order by lead_row"
    ).fetchnumpy()
    return np.asarray(found["odds"], np.float64)


def _integers(column: NDArray[np.generic]) -> IntArray:
    return np.asarray(column, np.int64)


def _floats(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
