"""What each hard rule costs its product: the good leads that it alone keeps away, and their worth.

To first order, at the prices of the plan: a lead that misses product j by one rule would gain

    max(0, (value - price of j's place) - what the lead gives up for it)

if the rule were not there; a place costs the price of quota, and that of budget for what the lead
is expected to spend. What it gives up is its match with the same institution, if it has one;
else, if it has as many offers as it may, the least of them, each after the price of its own place;
else nothing. A rule loosened for many leads at once moves the prices themselves: the more, the less
the sum holds.
"""

from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from pipelines.core.publishing import read_manifest
from pipelines.pairs.near_misses import NEAR_MISS_FILE
from pipelines.pairs.valuation import minimum_value_sql, recompute_value_sql

SCHEMA = pa.schema(
    {
        "institution_id": pa.string(),
        "product_id": pa.string(),
        "step": pa.string(),
        "attribute": pa.string(),
        "near_misses": pa.float64(),
        "good_leads": pa.float64(),
        "value": pa.float64(),
    }
)
"""Columns of `rule_prices.parquet`: leads a day that fail this alone, those of them that would be
matched, and what they would add, in the base currency; scaled up where a sample stands for all."""


def rule_prices(connection: duckdb.DuckDBPyConnection, pairs: Path) -> pa.Table:
    """Return what each rule of each product costs a day (`SCHEMA`, the dearest first).

    Args:
        connection: With `products`, `quota_prices` (of quota and budget, by `product_row`) and
            `planned` (the plan's matches, with the same, `expected_value` and `expected_spend`).
        pairs: The published `pairs/date=D`.
    """
    looked_at = read_manifest(pairs)["near_misses"]
    leads_of_one = looked_at["of_leads"] / max(1, looked_at["leads"])
    most = policy.value().most_offers_per_lead
    found = connection.sql(
        f"""
        with offers as (
            select
                channel_id, lead_id, institution_id,
                expected_value - price_of_quota - price_of_budget * expected_spend as worth
            from planned
        ),

        of_leads as (
            select
                channel_id, lead_id,
                case when count(*) >= {most} then min(worth) else 0 end as least_worth
            from offers
            group by all
        ),

        missed as (
            select
                near.institution_id, near.product_id, near.step, near.attribute,
                {minimum_value_sql()} as is_worthwhile,
                near.expected_value - price_of_quota - price_of_budget * near.expected_spend
                - coalesce(rival.worth, least_worth, 0) as gain
            from ({recompute_value_sql(pairs / NEAR_MISS_FILE)}) as near
            join products using (institution_id, product_id)
            join quota_prices using (product_row)
            left join offers as rival
                on rival.channel_id = near.channel_id and rival.lead_id = near.lead_id
                and rival.institution_id = near.institution_id
            left join of_leads
                on of_leads.channel_id = near.channel_id and of_leads.lead_id = near.lead_id
        )

        select
            institution_id, product_id, step, attribute,
            count(*) * {leads_of_one} as near_misses,
            count(*) filter (is_worthwhile and gain > 0) * {leads_of_one} as good_leads,
            coalesce(sum(cast(round(gain * 10000) as hugeint)) filter (
                is_worthwhile and gain > 0
            ), 0) / 10000.0 * {leads_of_one} as value
        from missed
        group by institution_id, product_id, step, attribute
        order by value desc, institution_id, product_id, step, attribute
        """
    )
    return found.to_arrow_table().cast(SCHEMA)
