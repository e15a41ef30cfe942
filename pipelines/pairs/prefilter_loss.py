"""What cutting the pairs of a large day has cost, at any prices.

At any prices of quotas no plan is worth more than all quotas at their prices and each lead's best
offers after prices. Cutting pairs changes only the latter: so the best that leads could have had
with every pair, less the best of the pairs kept, bounds what the plan can have lost. It is measured
on leads drawn by lot, of whom every pair is known; the chance of the draw is not in it.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.pairs.revaluing import worthwhile_sql

SAMPLE = "cut_sample.parquet"
"""Beside the pairs of a day that was cut: every pair of some leads."""

_WORTH = "cast(round((expected_value - coalesce(price, 0)) * 10000) as bigint)"
"""In whole ten-thousandths, so that sums don't depend on their order."""


def loss_of_cut(
    connection: duckdb.DuckDBPyConnection, folder: Path, price_of_quota: Sequence[float]
) -> dict[str, float]:
    """Return `cut_loss`, as `loss_share` at the plan's prices; nothing where no pair was cut.

    Args:
        connection: With table `products`.
        folder: The published `pairs/date=D`.
        price_of_quota: By `product_row`.
    """
    file = folder / SAMPLE
    if not file.exists():
        return {}
    names = connection.sql(
        "select institution_id, product_id from products order by product_row"
    ).fetchall()
    prices = dict(zip(names, map(float, price_of_quota), strict=True))
    return {"cut_loss": loss_share(connection, pq.read_table(file), prices)}


def loss_share(
    connection: duckdb.DuckDBPyConnection, sample: pa.Table, prices: dict[tuple[str, str], float]
) -> float:
    """Return the share of the leads' best worth, after prices, that was cut away.

    Args:
        connection: Any.
        sample: As `Cut.sample`.
        prices: Institution and product -> price of quota; 0 where there is none.
    """
    connection.register("cut_sample", sample)
    connection.register("cut_prices", _as_table(prices))
    ((every, kept),) = connection.sql(
        f"""
        with worth as (
            select
                channel_id, lead_id, institution_id,
                max({_WORTH}) as every, max({_WORTH}) filter (is_kept) as kept
            from cut_sample
            left join cut_prices using (institution_id, product_id)
            where {worthwhile_sql()}
            group by all
        ),

        of_leads as (
            select
                list_sum(list_sort(list(greatest(every, 0)), 'desc')[:$most]) as every,
                list_sum(list_sort(list(greatest(coalesce(kept, 0), 0)), 'desc')[:$most]) as kept
            from worth
            group by channel_id, lead_id
        )

        select coalesce(sum(every), 0), coalesce(sum(kept), 0) from of_leads
        """,
        params={"most": policy.value().most_offers_per_lead},
    ).fetchall()
    connection.unregister("cut_sample")
    connection.unregister("cut_prices")
    return float(1 - kept / every) if every > 0 else 0.0


def _as_table(prices: dict[tuple[str, str], float]) -> pa.Table:
    return pa.table(
        {
            "institution_id": pa.array([name for name, _ in prices], pa.string()),
            "product_id": pa.array([name for _, name in prices], pa.string()),
            "price": pa.array(list(prices.values()), pa.float64()),
        }
    )
