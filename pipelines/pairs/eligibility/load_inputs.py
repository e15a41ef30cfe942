"""The day's leads and the day's catalogue, as tables: what the hard rules are judged on."""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.pairs.eligibility.contact_frequency import load_earlier_offers
from pipelines.pairs.eligibility.rules import CompiledRules, Product, compile_rules


def load_leads(connection: duckdb.DuckDBPyConnection, marts: Path) -> None:
    """Create table `leads`: the leads that were not set aside, numbered by key as `lead_row`.

    A number that is not one (NaN) counts as unknown: no rule may be met by it.
    """
    schema = pq.read_schema(marts / "leads.parquet")
    cleaned = "".join(
        f""", nullif("{column.name}", 'nan'::double) as "{column.name}" """
        for column in schema
        if pa.types.is_floating(column.type)
    )
    connection.execute(
        f"""
        create or replace table leads as
        select
            cast(row_number() over (order by channel_id, lead_id) - 1 as integer) as lead_row,
            * replace ({cleaned.removeprefix(",")})
        from read_parquet($leads)
        where exclusion_stage is null
        order by lead_row
        """,
        {"leads": str(marts / "leads.parquet")},
    )


def load_products(connection: duckdb.DuckDBPyConnection, marts: Path, day: date) -> CompiledRules:
    """Create the tables of the day's catalogue; return what its rules ask.

    `products`: those that may receive leads on `day`, numbered by key as `product_row`, with
    `price_cap`, `reference_apr` (the cap, else the dearest loan on offer) and `exchange_rate`.
    `closed_products`: the others, each with its `reason`.
    `channel_costs`: cost of a lead by channel, in the base currency.
    `earlier_offers`: what the leads' persons were matched with lately.
    """
    catalogue = pq.read_table(marts / "products.parquet")
    rules = compile_rules(
        pq.read_table(marts / "product_rules.parquet"),
        pq.read_schema(marts / "leads.parquet"),
        policy.protected(),
    )
    rates = policy.currencies(day)
    load_earlier_offers(connection, marts)
    connection.register("catalogue", catalogue)
    connection.register("unfit", _unfit(rules.closed))
    connection.register("price_caps", _price_caps(catalogue, day))
    connection.register(
        "rates", pa.table({"currency": list(rates), "exchange_rate": list(rates.values())})
    )
    connection.execute(_JUDGED_PRODUCTS)
    connection.execute(_OPEN_PRODUCTS)
    connection.execute(
        """
        create or replace table closed_products as
        select institution_id, product_id, reason
        from judged_products
        where reason is not null
        order by institution_id, product_id
        """
    )
    connection.execute(
        """
        create or replace table channel_costs as
        select channel_id, cost_per_lead * exchange_rate as cost_per_lead
        from read_parquet($channels) left join rates using (currency)
        """,
        {"channels": str(marts / "channels.parquet")},
    )
    return rules


_JUDGED_PRODUCTS = """
    create or replace table judged_products as
    select
        catalogue.*, price_caps.price_cap, rates.exchange_rate,
        case
            when not is_open then coalesce(closed_reason, 'closed')
            when unfit.reason is not null then unfit.reason
            when exchange_rate is null then 'no exchange rate for ' || currency
        end as reason
    from catalogue
    left join price_caps using (institution_kind, segment, currency)
    left join rates using (currency)
    left join unfit using (institution_id, product_id)
"""

_OPEN_PRODUCTS = """
    create or replace table products as
    select
        cast(row_number() over (order by institution_id, product_id) - 1 as integer)
            as product_row,
        * exclude (reason),
        coalesce(price_cap, max(apr_max) over (partition by segment, currency)) as reference_apr
    from judged_products
    where reason is null
    order by product_row
"""


def _price_caps(catalogue: pa.Table, day: date) -> pa.Table:
    """Return the price cap of each kind, segment and currency on offer; empty: none known."""
    criteria = ["institution_kind", "segment", "currency"]
    distinct = catalogue.select(criteria).drop_null().group_by(criteria).aggregate([])
    kinds, segments, currencies = (distinct[name].to_pylist() for name in criteria)
    offered = zip(kinds, segments, currencies, strict=True)
    caps = [policy.price_cap(kind, segment, money, day) for kind, segment, money in offered]
    return distinct.append_column("price_cap", pa.array(caps, pa.float64()))


def _unfit(closed: dict[Product, str]) -> pa.Table:
    return pa.table(
        {
            "institution_id": pa.array([product[0] for product in closed], pa.string()),
            "product_id": pa.array([product[1] for product in closed], pa.string()),
            "reason": pa.array(list(closed.values()), pa.string()),
        }
    )
