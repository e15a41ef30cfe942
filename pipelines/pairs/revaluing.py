"""Value the scored pairs by the policy of now: other weights need no new scoring.

`pairs.parquet` keeps what the models said of each pair and at which price; what that is worth is
plain arithmetic and made anew whenever the pairs are read. With the weights by which they were
scored, the values come out the same to the last bit.
"""

from pathlib import Path

import duckdb

from expectations import policy
from expectations.policy_types import Value
from pipelines.pairs.scoring import SCHEMA
from pipelines.pairs.valuation import valued_sql

TERMS = ("price_model", "price", "amount_max", "term_max_months", "reference_apr", "exchange_rate")
"""What the value reads of a product."""

VALUED = (
    "expected_spend",
    "revenue",
    "person_fit",
    "person_benefit",
    "institution_margin",
    "expected_value",
    "expected_cost",
)
"""Columns of the pairs that are made anew."""


def load_pairs(
    connection: duckdb.DuckDBPyConnection, folder: Path, value: Value | None = None
) -> None:
    """Create `pairs` (worth making, numbered by `row` in the order of their keys) and `funnel`.

    Args:
        connection: With the table `products`.
        folder: The published `pairs/date=D`.
        value: What a match is worth; without it the policy of now says so.
    """
    connection.execute(
        f"""
        create or replace table pairs as
        select
            {", ".join(SCHEMA.names)},
            row_number() over (order by file_row_number) - 1 as row
        from ({revalued_sql(folder / "pairs.parquet", value)})
        where {worthwhile_sql(value)}
        order by file_row_number
        """
    )
    connection.execute(
        f"""
        create or replace view funnel as
        select funnel.* exclude (low_value), coalesce(worthwhile.pairs, 0) as low_value
        from read_parquet('{_quoted(folder / "funnel.parquet")}', hive_partitioning = false)
            as funnel
        left join (
            select channel_id, lead_id, count(*) as pairs from pairs group by all
        ) as worthwhile using (channel_id, lead_id)
        """
    )


def revalued_sql(path: Path, value: Value | None = None) -> str:
    """Return SQL of all scored pairs in `path`, valued by `value`, else by the policy of now."""
    return valued_sql(
        f"""(
            select
                scored.* exclude ({", ".join(VALUED)}),
                expected_cost as cost_per_lead,
                {", ".join(f"products.{name}" for name in TERMS)}
            from read_parquet(
                '{_quoted(path)}', file_row_number = true, hive_partitioning = false
            ) as scored
            join products using (institution_id, product_id)
        )""",
        value or policy.value(),
    )


def worthwhile_sql(value: Value | None = None) -> str:
    """Return the SQL condition of a pair that is worth making."""
    return f"expected_value >= {(value or policy.value()).minimum_value} and expected_value > 0"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
