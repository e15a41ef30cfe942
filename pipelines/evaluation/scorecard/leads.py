"""The leads of a day, and what each cost."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from expectations import policy
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.database import create_known_view
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings


@dataclass(frozen=True)
class DayLeads:
    """Every lead that was loaded on a day, set aside or not, ordered by key."""

    day: date
    channel_id: NDArray[np.str_]
    cost: FloatArray
    """In the base currency."""
    keys: pa.Table
    """`channel_id`, `lead_id` and the `lead` that they stand at."""


def leads_of_day(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> DayLeads:
    """Return the leads of `day`.

    A lead costs what its channel spent on the day, shared by the leads loaded from it, whatever
    becomes of them. Where that isn't reported yet, it costs what a lead of the channel had cost
    before.

    Raises:
        InputMissing: The day's marts are not published.
    """
    marts = settings.day_folder(settings.marts, day)
    read_manifest(marts)
    create_known_view(connection, settings, "channel_spend", date.max)
    rates = policy.currencies(day)
    connection.register(
        "rates", pa.table({"currency": list(rates), "exchange_rate": list(rates.values())})
    )
    files = {name: str(marts / f"{name}.parquet") for name in ("leads", "channels")}
    found = connection.sql(_LEADS, params={"day": day} | files).to_arrow_table()
    return DayLeads(
        day=day,
        channel_id=np.asarray(found["channel_id"].to_pylist(), np.str_),
        cost=np.asarray(found["cost"].to_numpy(), np.float64),
        keys=found.select(["channel_id", "lead_id", "lead"]),
    )


_LEADS = """
    with

    reports as (
        select channel_id, campaign_id, spend * exchange_rate as spend
        from channel_spend join rates using (currency)
        where date = $day
        qualify row_number() over (
            partition by channel_id, campaign_id, currency order by known_at desc, spend
        ) = 1
    ),

    spent as (select channel_id, sum(spend) as spend from reports group by channel_id),

    before as (
        select channel_id, cost_per_lead * exchange_rate as cost_per_lead
        from read_parquet($channels) left join rates using (currency)
    )

    select
        row_number() over (order by channel_id, lead_id) - 1 as lead,
        channel_id, lead_id,
        coalesce(
            spend / count(*) over (partition by channel_id), cost_per_lead, 0
        ) as cost
    from read_parquet($leads, hive_partitioning = false)
    left join spent using (channel_id)
    left join before using (channel_id)
    order by lead
"""


def places(connection: duckdb.DuckDBPyConnection, leads: DayLeads, rows: pa.Table) -> IntArray:
    """Return at which place among `leads` the lead of each row stands.

    Args:
        connection: Where the keys are compared.
        leads: All leads of the day.
        rows: With `channel_id` and `lead_id`, each of a lead of the day.
    """
    asked = rows.select(["channel_id", "lead_id"])
    asked = asked.append_column("place", pa.array(np.arange(rows.num_rows)))
    connection.register("keys", leads.keys)
    connection.register("asked", asked)
    found = connection.sql(
        "select lead from asked join keys using (channel_id, lead_id) order by place"
    ).fetchnumpy()
    return np.asarray(found["lead"], np.int64)
