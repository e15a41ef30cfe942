"""Which products a lead may be shown: every hard rule, judged for all pairs in one statement.

The statement finds the first step that excludes a pair. From it come both the pairs that remain
and, per lead, how many products were left after each step: the reason why a lead has none.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.pairs.rules import Product, compile_rules

STEPS = {
    "consent": "list_contains(lead.consent_scope, $every_institution)"
    " or list_contains(lead.consent_scope, product.institution_id)",
    "suppressed": "not coalesce("
    "list_contains(lead.suppressed_institutions, product.institution_id), false)",
    "segment": "lead.segment = product.segment",
    "currency": "lead.currency = product.currency",
    "amount": "lead.amount between product.amount_min and product.amount_max",
    "term": "lead.term_months is null"
    " or lead.term_months between product.term_min_months and product.term_max_months",
    "rules": "{rules}",
    "price_cap": "product.price_cap is null or product.apr_min <= product.price_cap",
    "risk_band": "lead.pd between coalesce(product.pd_min, 0) and coalesce(product.pd_max, 1)",
}
"""Step -> the SQL that a pair must meet, in the order in which a pair is judged."""

STATED_STEPS = {name: sql for name, sql in STEPS.items() if name != "risk_band"}
"""Those that rest on what is stated of lead and product, not on what a model thinks of the lead."""


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
        where set_aside_stage is null
        order by lead_row
        """,
        {"leads": str(marts / "leads.parquet")},
    )


def load_products(connection: duckdb.DuckDBPyConnection, marts: Path, day: date) -> str:
    """Create the tables of the day's catalogue; return the SQL condition of its rules.

    `products`: those that may receive leads on `day`, numbered by key as `product_row`, with
    `price_cap`, `reference_apr` (the cap, else the dearest loan on offer) and `exchange_rate`.
    `closed_products`: the others, each with its `reason`.
    `rule_terms`: what the condition reads, by product.
    `channel_costs`: cost of a lead by channel, in the base currency.
    """
    catalogue = pq.read_table(marts / "products.parquet")
    rules = compile_rules(
        pq.read_table(marts / "product_rules.parquet"),
        pq.read_schema(marts / "leads.parquet"),
        policy.protected(),
    )
    rates = policy.currencies(day)
    connection.register("catalogue", catalogue)
    connection.register("rule_terms", rules.terms)
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
    return rules.condition


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


def judge(
    connection: duckdb.DuckDBPyConnection,
    condition: str,
    day: date,
    steps: Mapping[str, str] = STEPS,
) -> None:
    """Create `remaining` (per lead: products left after each step) and `eligible` (the pairs).

    Args:
        connection: Where leads, with the `pd` that a risk band asks for, and products are loaded.
        condition: The SQL condition of the products' rules.
        day: The business date, for the words of its consent policy.
        steps: What a pair must meet.
    """
    passed = " ".join(
        f"when not coalesce({sql.format(rules=condition)}, false) then {number}"
        for number, sql in enumerate(steps.values())
    )
    counts = ", ".join(
        f"count(*) filter (passed > {number}) as {step}" for number, step in enumerate(steps)
    )
    connection.execute(
        f"""
        create or replace table judged as
        select
            lead_row, count(*) as open, {counts},
            list(product_row order by product_row) filter (passed = {len(steps)}) as product_rows
        from (
            select lead_row, product_row, case {passed} else {len(steps)} end as passed
            from leads as lead
            cross join (
                from products left join rule_terms using (institution_id, product_id)
            ) as product
        )
        group by lead_row
        """,
        {"every_institution": policy.consent(day).every_institution},
    )
    connection.execute(
        """
        create or replace table eligible as
        select lead_row, unnest(product_rows) as product_row from judged order by all
        """
    )
    connection.execute(
        f"""
        create or replace table remaining as
        select
            lead_row, leads.channel_id, leads.lead_id,
            {", ".join(f"coalesce(judged.{step}, 0) as {step}" for step in ("open", *steps))}
        from leads left join judged using (lead_row)
        order by lead_row
        """
    )


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
