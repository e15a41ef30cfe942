"""Shadow prices of the day's limits, and the cost of each hard rule of a product.

A shadow price holds to first order, at the prices that certify the plan: for a few units more or
less. The cost of a rule is the change of the lender's own result (its margin less its fees) if that
rule alone went, under today's quota: the leads that it alone excludes bid against the product's
present matches, at the prices of all other limits (`sql/rule_costs.sql`). `bench prices` compares
both with solving the day again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations import policy
from pipelines.allocation.allocate import Plan
from pipelines.core.arrays import FloatArray
from pipelines.core.database import query_table, run_query
from pipelines.core.publishing import read_manifest
from pipelines.core.statistics import round_significant
from pipelines.matches.match_id import SQL
from pipelines.matches.policy_limits import OWNER_SCHEMA, LimitFamily
from pipelines.pairs.near_misses import NEAR_MISS_FILE
from pipelines.pairs.prefilter_loss import SAMPLE_FILE, measure_best_offers
from pipelines.pairs.valuation import (
    impossible_value_sql,
    recompute_value_sql,
    worthwhile_sql,
)

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        *OWNER_SCHEMA,
        ("limit", pa.float64()),
        ("used", pa.float64()),
        ("short", pa.float64()),
        ("price", pa.float64()),
    ]
)
"""Columns of `prices.parquet`, one row by limit. `limit` and `used` in leads a day, of a budget in
the product's currency, of an approval rate as a share, of a cost or of fees in the base currency;
`short`: by how much a floor is missed; `price`: value in the base currency that one unit more of
the limit (of a floor: one unit less) would add, of a rate or a cost one approval, or unit of money,
by which the sum of the matches may miss it."""

RULE_COSTS = pa.schema(
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
"""Columns of `rule_costs.parquet`: leads a day that fail this rule alone, the ones among them that
would be matched without it, and what the lender's result would gain, in the base currency; scaled
up from a sample."""


@dataclass(frozen=True)
class LimitUse:
    """A family of limits with their use by the plan and their shadow prices, by row."""

    family: LimitFamily
    used: FloatArray
    price: FloatArray

    @property
    def short(self) -> FloatArray:
        """Return the leads by which each floor is missed; 0 for other limits."""
        if not self.family.limit.is_floor:
            return np.zeros(len(self.used))
        return np.maximum(np.nan_to_num(self.family.stated) - self.used, 0)


def measure_use(plan: Plan, family: LimitFamily) -> LimitUse:
    """Return the use of a family whose limits count leads."""
    limit = family.limit
    leads = np.bincount(limit.row[plan.rows], minlength=len(limit.upper) + 1)[: len(limit.upper)]
    return LimitUse(family, leads.astype(np.float64), plan.limit_prices(limit))


def build_price_table(uses: Sequence[LimitUse]) -> pa.Table:
    """Return the limits of the day (`SCHEMA`), grouped by kind."""
    parts = [SCHEMA.empty_table()]
    for use in uses:
        columns = {
            "kind": pa.repeat(use.family.kind, len(use.used)),
            **{name: use.family.owners[name] for name in OWNER_SCHEMA.names},
            "limit": use.family.stated,
            "used": use.used,
            "short": use.short,
            "price": use.price + 0.0,
        }
        is_limited = pa.array(np.isfinite(use.family.stated))
        parts.append(pa.table(columns).cast(SCHEMA).filter(is_limited))
    return pa.concat_tables(parts).combine_chunks()


def create_product_prices(connection: duckdb.DuckDBPyConnection, price_table: pa.Table) -> None:
    """Create table `product_prices`, by `product_row`, and the macro `value_before_quota`.

    Args:
        connection: With the table `products`.
        price_table: As `build_price_table` returns it.
    """
    connection.register("price_rows", price_table)
    run_query(connection, SQL / "product_prices.sql")
    run_query(connection, SQL / "value_before_quota.sql")
    connection.unregister("price_rows")


def describe_missed_floors(limits: pa.Table, min_shortfall: int) -> dict[str, Any]:
    """Return the fields of a manifest about floors that the plan misses; none if it misses none.

    Args:
        limits: As `build_price_table` returns it.
        min_shortfall: Lower bound on the total shortfall of every plan.

    Returns:
        `floors_short`: each floor with its owner, `promised`, `attained` (the most that is feasible
        with the other limits) and `short`; `min_shortfall`, as given.
    """
    is_missed = pc.and_(pc.equal(limits["kind"], "floor"), pc.greater(limits["short"], 0))
    short = limits.filter(is_missed)
    if not short.num_rows:
        return {}
    rows = [
        {name: row[name] for name in OWNER_SCHEMA.names if row[name] is not None}
        | {"promised": int(row["limit"]), "attained": int(row["used"]), "short": int(row["short"])}
        for row in short.to_pylist()
    ]
    return {"floors_short": rows, "min_shortfall": min_shortfall}


def measure_prefilter_loss(
    connection: duckdb.DuckDBPyConnection, pairs: Path, bound: float
) -> dict[str, float]:
    """Return the share of the plan that the prefilter can have cost at most, as `prefilter_loss`.

    Nothing for a day that was not prefiltered.

    Args:
        connection: As `measure_sample_loss` takes it.
        pairs: The published `pairs/date=D`.
        bound: Dual bound of the plan.
    """
    file = pairs / SAMPLE_FILE
    if not file.exists():
        return {}
    sampled_leads = read_manifest(pairs)["prefilter"]["sampled_leads"] // 2
    loss = measure_sample_loss(connection, pq.read_table(file), sampled_leads, bound)
    return {"prefilter_loss": round_significant(loss)}


def measure_sample_loss(
    connection: duckdb.DuckDBPyConnection, sample: pa.Table, sampled_leads: int, bound: float
) -> float:
    """Return the share of a plan's bound that the prefilter can have cost at most.

    At any shadow prices no plan has a higher value than all limits at their prices plus each lead's
    best offers after prices (the dual bound). The prefilter changes only the second part. So what
    the best offers of the sampled leads lose, scaled to all leads, bounds the loss, up to sampling
    error and the prices of limits on groups of leads, which are left out.

    Args:
        connection: With `leads`, `products`, `product_prices` and the macro `value_before_quota`.
        sample: As `Prefiltered.sample`.
        sampled_leads: Leads of the sample, the ones without an eligible pair included.
        bound: Dual bound of the plan.
    """
    if not (bound > 0 and sampled_leads):
        return 0.0
    connection.register("prefilter_sample", sample)
    valued = query_table(connection, SQL / "sample_net_values.sql")
    connection.unregister("prefilter_sample")
    best = measure_best_offers(connection, valued)
    ((leads,),) = connection.table("leads").count("*").fetchall()
    return float(best.removed * leads / sampled_leads / bound)


def compute_rule_costs(connection: duckdb.DuckDBPyConnection, pairs: Path, day: date) -> pa.Table:
    """Return the cost a day of each rule of each product (`RULE_COSTS`, the greatest first).

    Args:
        connection: With `products`, `product_prices`, `product_quotas` (by `product_row`) and
            `planned` (the plan's pairs).
        pairs: The published `pairs/date=D`.
        day: The business date.
    """
    sample = read_manifest(pairs)["near_misses"]
    connection.execute(
        f"""
        create or replace temp view valued_near_misses as
        select *, {worthwhile_sql()} as is_worthwhile
        from ({recompute_value_sql(pairs / NEAR_MISS_FILE, day)})
        where not ({impossible_value_sql()})
        """
    )
    costs = query_table(
        connection,
        SQL / "rule_costs.sql",
        {
            "max_offers": policy.value().max_offers_per_lead,
            "scale": Decimal(str(sample["of_leads"] / max(1, sample["leads"]))),
        },
    )
    return costs.cast(RULE_COSTS)
