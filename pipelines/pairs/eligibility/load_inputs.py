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
from pipelines.pairs.financing_cost import CHARGES, HIGHEST_RATE

SQL = Path(__file__).parent / "sql"

MAX_PAIR_VALUE = 1e9
"""Largest value of a match, in the base currency. More is a mistyped price; and the solver's costs
(value x units x pairs) must stay within 64 bits."""
MATCHED_AMOUNT = "matched_amount"
"""Column of leads: the amount at which a lead is matched, see `policy/assumed_requests.yml`."""
COST_COLUMNS = ("repayment", "is_compound", "whole_cost_cap", "states_costs", *CHARGES)
"""Columns of table `products` that the whole cost of a loan depends on; no model reads them."""
USUAL_TERMS = {
    "repayment": pa.scalar(None, pa.string()),
    "institution_approvals_to_expected": pa.scalar(1.0),
    "institution_fundings_to_expected": pa.scalar(1.0),
}
"""Columns of the mart `products` that earlier versions did not have."""
FEES = pa.schema(
    {
        "institution_id": pa.string(),
        "product_id": pa.string(),
        "fee": pa.string(),
        "basis": pa.string(),
        "value": pa.float64(),
        "currency": pa.string(),
        "charged_when": pa.string(),
        "collector": pa.string(),
        "is_contingent": pa.bool_(),
    }
)
"""Columns of the mart `product_fees`."""
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
    `price_cap`, `reference_apr` (the cap, or the highest price on offer), `exchange_rate`, and
    `COST_COLUMNS`: the terms that the whole cost of its loans depends on.
    `closed_products`: the other products, each with its `reason`.
    `channel_costs`: cost of a lead by channel, in the base currency.
    `earlier_offers`: last match of each person's leads with a product.
    `exchange_rates`: by currency, to the base currency.
    """
    products = _read_products(marts)
    rules = compile_rules(
        pq.read_table(marts / "product_rules.parquet"),
        pq.read_schema(marts / "leads.parquet"),
        policy.protected(),
    )
    rates = policy.currencies(day)
    _load_earlier_offers(connection, marts)
    connection.register("mart_products", products)
    connection.register("invalid_rules", _invalid_rules(rules.closed))
    connection.register("mart_product_fees", read_product_fees(marts))
    connection.register("cost_rules", find_price_caps(products, day))
    connection.register(
        "exchange_rates", pa.table({"currency": list(rates), "exchange_rate": list(rates.values())})
    )
    run_query(
        connection,
        SQL / "catalogue.sql",
        {"max_pair_value": MAX_PAIR_VALUE, "highest_rate": HIGHEST_RATE},
    )
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
    """Return the price caps and rules on costs of each kind, segment and currency on offer.

    `price_cap` (null: no cap), `is_compound`, `caps_whole_cost` and `fee_lines`, as
    `policy/financing_cost.yml` describes them.
    """
    criteria = ["institution_kind", "segment", "currency"]
    distinct = products.select(criteria).drop_null().group_by(criteria).aggregate([])
    kinds, segments, currencies = (distinct[name].to_pylist() for name in criteria)
    offered = list(zip(kinds, segments, currencies, strict=True))
    caps = [policy.price_cap(*loan, day) for loan in offered]
    rules = [policy.financing_costs().rule(*loan, day) for loan in offered]
    columns = {
        "price_cap": pa.array(caps, pa.float64()),
        "is_compound": pa.array([rule.annualisation == "compound" for rule in rules], pa.bool_()),
        "caps_whole_cost": pa.array(
            [rule.cap_compares == "whole_cost" for rule in rules], pa.bool_()
        ),
        "fee_lines": pa.array([rule.fee_lines for rule in rules], pa.list_(pa.string())),
    }
    for name, values in columns.items():
        distinct = distinct.append_column(name, values)
    return distinct


def _read_products(marts: Path) -> pa.Table:
    """Return the mart `products`; what an earlier version did not know has its usual value."""
    table = pq.read_table(marts / "products.parquet")
    for name, usual in USUAL_TERMS.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(usual, table.num_rows))
    return table


def read_product_fees(marts: Path) -> pa.Table:
    """Return the mart `product_fees`; marts of an earlier version had no such feed."""
    file = marts / "product_fees.parquet"
    return pq.read_table(file, partitioning=None) if file.is_file() else FEES.empty_table()


def _invalid_rules(closed: dict[Product, str]) -> pa.Table:
    return pa.table(
        {
            "institution_id": pa.array([product[0] for product in closed], pa.string()),
            "product_id": pa.array([product[1] for product in closed], pa.string()),
            "reason": pa.array(list(closed.values()), pa.string()),
        }
    )
