"""Upper bound of the value that the prefilter of a large day costs, at any quota prices.

At any quota prices no plan has a higher value than all quotas at their prices plus each lead's best
offers after prices (the dual bound). The prefilter changes only the second part. So the best offers
of a lead with every pair, less its best offers with the kept pairs, bound the loss of the plan. It
is measured on a random sample of leads that have every pair scored; sampling error is not included.
Pairs that are no offers, since their approval is too unlikely or their value too small, count on
neither side.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.database import run_query

SAMPLE_FILE = "prefilter_sample.parquet"
"""Beside the pairs of a day that was prefiltered: every pair of the sampled leads."""


def measure_day_loss(
    connection: duckdb.DuckDBPyConnection, folder: Path, price_of_quota: Sequence[float]
) -> dict[str, float]:
    """Return `prefilter_loss` at the plan's prices; nothing for a day that was not prefiltered.

    Args:
        connection: With table `products`.
        folder: The published `pairs/date=D`.
        price_of_quota: Shadow prices by `product_row`.
    """
    file = folder / SAMPLE_FILE
    if not file.exists():
        return {}
    names = connection.sql(
        "select institution_id, product_id from products order by product_row"
    ).fetchall()
    prices = dict(zip(names, map(float, price_of_quota), strict=True))
    return {"prefilter_loss": measure_loss(connection, pq.read_table(file), prices)}


def measure_loss(
    connection: duckdb.DuckDBPyConnection, sample: pa.Table, prices: dict[tuple[str, str], float]
) -> float:
    """Return the share of the leads' best value after prices that the prefilter removes.

    Args:
        connection: Any.
        sample: As `Prefiltered.sample`.
        prices: Institution and product -> shadow price of the quota; 0 for the others.
    """
    if "least_odds" not in sample.schema.names:  # a sample of an earlier version
        sample = sample.append_column("least_odds", pa.repeat(0.0, sample.num_rows))
    connection.register("prefilter_sample", sample)
    connection.register("sample_prices", _price_table(prices))
    value = policy.value()
    ((best, best_kept),) = run_query(
        connection,
        Path(__file__).parent / "sql" / "prefilter_loss.sql",
        {"max_offers": value.max_offers_per_lead, "minimum_value": value.minimum_value},
    ).fetchall()
    connection.unregister("prefilter_sample")
    connection.unregister("sample_prices")
    return float(1 - best_kept / best) if best > 0 else 0.0


def _price_table(prices: dict[tuple[str, str], float]) -> pa.Table:
    return pa.table(
        {
            "institution_id": pa.array([name for name, _ in prices], pa.string()),
            "product_id": pa.array([name for _, name in prices], pa.string()),
            "price": pa.array(list(prices.values()), pa.float64()),
        }
    )
