"""What the prefilter of a large day removes: the best offers of sampled leads with and without it.

The loss is measured on a random sample of leads that have every pair scored. At prices of 0 it is
known before the plan; at the plan's shadow prices it bounds what the plan loses
(`matches.shadow_prices`). Pairs that are no offers, since their approval is too unlikely or their
value too small, count on neither side.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from pipelines.core.database import run_query

PARTS = 10_000
"""Net values are summed in whole parts of a unit of money, so that no sum depends on its order."""
SAMPLE_FILE = "prefilter_sample.parquet"
"""Beside the pairs of a day that was prefiltered: every pair of the sampled leads."""


@dataclass(frozen=True)
class BestOffers:
    """The net value of the best offers that the leads of a sample can have, in all.

    Money in whole ten-thousandths.
    """

    every: int
    """With every pair."""
    kept: int
    """With the kept pairs."""

    @property
    def removed(self) -> float:
        """Return the money that only removed pairs bring."""
        return (self.every - self.kept) / PARTS

    @property
    def removed_share(self) -> float:
        """Return the share of the value that only removed pairs have."""
        return 1 - self.kept / self.every if self.every > 0 else 0.0


def measure_best_offers(connection: duckdb.DuckDBPyConnection, sample: pa.Table) -> BestOffers:
    """Return the best offers of the leads of a sample.

    Args:
        connection: Any.
        sample: As `Prefiltered.sample`, with `net_value`: the value after shadow prices.
    """
    if "least_odds" not in sample.schema.names:  # a sample of an earlier version
        sample = sample.append_column("least_odds", pa.repeat(0.0, sample.num_rows))
    connection.register("sampled_pairs", sample)
    value = policy.value()
    ((every, kept),) = run_query(
        connection,
        Path(__file__).parent / "sql" / "prefilter_loss.sql",
        {"max_offers": value.max_offers_per_lead, "minimum_value": value.minimum_value},
    ).fetchall()
    connection.unregister("sampled_pairs")
    return BestOffers(int(every), int(kept))
