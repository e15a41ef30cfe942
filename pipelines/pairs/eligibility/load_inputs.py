"""Load the day's leads and catalogue as the tables that hard rules read."""

from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import run_query
from pipelines.core.errors import InputMissing
from pipelines.pairs.eligibility.rules import CompiledRules, Product, compile_rules

SQL = Path(__file__).parent / "sql"

MAX_PAIR_VALUE = 1e9
"""Largest value of a match, in the base currency. More is a mistyped price; and the solver's costs
(value x units x pairs) must stay within 64 bits."""
MATCHED_AMOUNT = "matched_amount"
"""Column of leads: the amount at which a lead is matched, see `policy/assumed_requests.yml`."""
MAX_QUOTA = 10_000_000
"""Largest daily quota that counts: ten times the leads that a day is sized for."""


def load_leads(connection: duckdb.DuckDBPyConnection, marts: Path) -> None:
    """Create table `leads`: the leads that are not excluded, numbered by key as `lead_row`.

    NaN becomes null, so that it counts as unknown and meets no rule. `matched_amount` is the amount
    asked for, or the one assumed without it; marts of an earlier version have stated amounts only.
    Table `shared_offers` has the
    leads (`lead_row`) that share the offers of another lead, `first_lead_row`.
    """
    schema = pq.read_schema(marts / "leads.parquet")
    values = {
        column.name: f"nullif(\"{column.name}\", 'nan'::double)"
        for column in schema
        if pa.types.is_floating(column.type)
    }
    matched = f"coalesce({values['amount']}, {values.get(MATCHED_AMOUNT, 'null')})"
    cleaned = ", ".join(
        f'{sql} as "{name}"' for name, sql in values.items() if name != MATCHED_AMOUNT
    )
    columns = "* exclude (matched_amount)" if MATCHED_AMOUNT in schema.names else "*"
    connection.execute(
        f"""
        create or replace table leads as
        select
            cast(row_number() over (order by channel_id, lead_id) - 1 as integer) as lead_row,
            {columns} replace ({cleaned}),
            {matched} as {MATCHED_AMOUNT}
        from read_parquet($leads)
        where exclusion_stage is null
        order by lead_row
        """,
        {"leads": str(marts / "leads.parquet")},
    )
    run_query(
        connection,
        SQL / "shared_offers.sql",
        {"shared_phones": str(_require_file(marts, "shared_phones.parquet"))},
    )


def load_products(connection: duckdb.DuckDBPyConnection, marts: Path, day: date) -> CompiledRules:
    """Create the tables of the day's catalogue; return the products' own rules.

    `products`: products that may receive leads on `day`, numbered by key as `product_row`, with
    `price_cap`, `reference_apr` (the cap, or the highest price on offer) and `exchange_rate`.
    `closed_products`: the other products, each with its `reason`.
    `channel_costs`: cost of a lead by channel, in the base currency.
    `earlier_offers`: last match of each person's leads with a product.
    `exchange_rates`: by currency, to the base currency.
    """
    products = pq.read_table(marts / "products.parquet")
    rules = compile_rules(
        pq.read_table(marts / "product_rules.parquet"),
        pq.read_schema(marts / "leads.parquet"),
        policy.protected(),
    )
    rates = policy.currencies(day)
    _load_earlier_offers(connection, marts)
    connection.register("mart_products", products)
    connection.register("invalid_rules", _invalid_rules(rules.closed))
    connection.register("price_caps", find_price_caps(products, day))
    connection.register(
        "exchange_rates", pa.table({"currency": list(rates), "exchange_rate": list(rates.values())})
    )
    run_query(connection, SQL / "catalogue.sql", {"max_pair_value": MAX_PAIR_VALUE})
    run_query(connection, SQL / "products.sql", {"max_quota": MAX_QUOTA})
    run_query(connection, SQL / "closed_products.sql")
    run_query(connection, SQL / "channel_costs.sql", {"channels": str(marts / "channels.parquet")})
    return rules


def _load_earlier_offers(connection: duckdb.DuckDBPyConnection, marts: Path) -> None:
    file = _require_file(marts, "earlier_offers.parquet")
    connection.execute(
        "create or replace table earlier_offers as from read_parquet($file)", {"file": str(file)}
    )


def _require_file(marts: Path, name: str) -> Path:
    file = marts / name
    if not file.exists():
        raise InputMissing(
            f"{marts} has no {name}: an earlier version made it. Nothing was done. "
            "Run the step `transform` for the date, then the steps after it."
        )
    return file


def find_price_caps(products: pa.Table, day: date) -> pa.Table:
    """Return the price cap of each kind, segment and currency on offer; null: no cap."""
    criteria = ["institution_kind", "segment", "currency"]
    distinct = products.select(criteria).drop_null().group_by(criteria).aggregate([])
    kinds, segments, currencies = (distinct[name].to_pylist() for name in criteria)
    offered = zip(kinds, segments, currencies, strict=True)
    caps = [policy.price_cap(kind, segment, money, day) for kind, segment, money in offered]
    return distinct.append_column("price_cap", pa.array(caps, pa.float64()))


def _invalid_rules(closed: dict[Product, str]) -> pa.Table:
    return pa.table(
        {
            "institution_id": pa.array([product[0] for product in closed], pa.string()),
            "product_id": pa.array([product[1] for product in closed], pa.string()),
            "reason": pa.array(list(closed.values()), pa.string()),
        }
    )
