"""Everyone who asks in a simulated market, with the truth about each."""

import math
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from models.features import Numbers
from pipelines.database import connect
from pipelines.settings import Settings

WITHIN_THE_HORIZON = 0.5 * math.erfc(-math.log((365.25 - 120) / 90) / 0.8 / math.sqrt(2))
"""Of the simulated loans that fail, the share that is 90 days overdue within a year: they are 30
days behind 60 + 90 exp(0.8 z) days after funding, z standard normal, and 90 days 60 days later
(pipelines/simulate/events.py). The truth that the world keeps is that of failing at all."""


def applicants(settings: Settings, day: date, *, since: date) -> tuple[pa.Table, Numbers]:
    """Return one row of each lead from `since` on that an institution told of.

    Returns:
        The columns of `training_pairs`, and the true probability of default within the horizon.
    """
    marts = settings.of_day(settings.marts, day)
    with connect(settings) as connection:
        table = _asked(
            connection, f"{marts / 'training_pairs.parquet'}", f"{settings.truth}", since
        )
    truth = np.asarray(table["p_default"].to_numpy(), np.float64) * WITHIN_THE_HORIZON
    return table.drop_columns("p_default"), truth


def _asked(connection: duckdb.DuckDBPyConnection, pairs: str, truth: str, since: date) -> pa.Table:
    return connection.sql(
        f"""
        select pairs.*, true_of.p_default
        from read_parquet('{pairs}', hive_partitioning = false) as pairs
        inner join (
            select channel_id, lead_id, any_value(p_default) as p_default
            from read_parquet('{truth}/date=*/shown.parquet', hive_partitioning = false)
            group by channel_id, lead_id
        ) as true_of using (channel_id, lead_id)
        where business_date >= date '{since}'
        qualify row_number() over (
            partition by channel_id, lead_id order by institution_id, product_id
        ) = 1
        order by channel_id, lead_id
        """
    ).to_arrow_table()
