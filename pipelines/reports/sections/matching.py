"""The day's matching: where the leads went, what each institution gets, what each channel gave."""

from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from expectations import policy
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.lead_reconciliation import LEAD, LeadCounts
from pipelines.matches.shadow_price_text import ProductPrices, told_prices
from pipelines.reports.report_data import ChannelMatches, Count, InstitutionMatches, ShortFloor

# Money and probabilities are summed as decimals: a sum of doubles depends on the order of adding,
# and with it on the number of threads.
INSTITUTIONS = """
with sent as (

    select
        institution_id,
        count(*) as matches,
        count(distinct product_id) as products,
        sum(cast(expected_value as decimal(28, 6))) as expected_value,
        sum(cast(expected_cost as decimal(28, 6))) as expected_cost,
        sum(cast(p_approve as decimal(28, 9))) / count(*) as p_approve,
        sum(cast(pd as decimal(28, 9))) / count(*) as pd
    from read_parquet(?)
    group by institution_id

),

room as (

    select institution_id, sum(daily_quota)::bigint as quota
    from read_parquet(?)
    where is_open
    group by institution_id

)

select
    institution_id,
    coalesce(sent.products, 0),
    coalesce(sent.matches, 0),
    coalesce(room.quota, 0),
    cast(coalesce(sent.expected_value, 0) as double),
    cast(coalesce(sent.expected_cost, 0) as double),
    round(cast(sent.p_approve as double), 6),
    round(cast(sent.pd as double), 6)
from sent full join room using (institution_id)
order by coalesce(sent.matches, 0) desc, institution_id
"""

CHANNELS = """
with leads as (

    select channel_id, count(*) as leads from read_parquet(?) group by channel_id

),

matched as (

    select
        channel_id,
        count(distinct lead_id) as matched,
        count(*) as matches,
        sum(cast(expected_value as decimal(28, 6))) as expected_value
    from read_parquet(?)
    group by channel_id

)

select
    channel_id,
    leads.leads,
    coalesce(matched.matched, 0),
    coalesce(matched.matches, 0),
    cast(coalesce(matched.expected_value, 0) as double),
    channels.cost_per_lead,
    channels.currency
from leads
left join matched using (channel_id)
left join read_parquet(?) as channels using (channel_id)
order by leads.leads desc, channel_id
"""


def headline(settings: Settings, day: date) -> dict[str, Any]:
    """Return what the matching says of itself: the counts of leads, how good the plan is, and how
    much was tried out beside it."""
    said = read_manifest(settings.day_folder(settings.matches, day))
    told = ("matches", "gap", "explored", "price_of_learning", "policy_version")
    return {
        "leads": LeadCounts(**{field.name: said[field.name] for field in fields(LeadCounts)}),
        **{name: said[name] for name in told},
        "floors_short": tuple(map(_short, said.get("floors_short", []))),
        "least_shortfall": said.get("least_shortfall", 0),
        "prefilter_loss": said.get("prefilter_loss"),
    }


def _short(floor: dict[str, Any]) -> ShortFloor:
    owner = "/".join(floor[name] for name in ("institution_id", "product_id") if name in floor)
    whom = owner or f"leads with {floor['column']} {floor['group']}"
    return ShortFloor(whom, floor["promised"], floor["kept"])


def prices(settings: Settings, day: date) -> tuple[ProductPrices, ...]:
    """Return what the limits of each open product cost, the most worth of its places first."""
    told = told_prices(
        settings.day_folder(settings.matches, day), settings.day_folder(settings.marts, day)
    )
    return tuple(sorted(told, key=_dearest))


def _dearest(told: ProductPrices) -> tuple[float, str, str]:
    costs = (told.price_of_quota, *(cost.value for cost in told.rules[:1]))
    return -max(costs), told.institution_id, told.product_id


def explored_of_new(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many trials were at products of which too little is known."""
    row = connection.execute(
        """
        select count(*)
        from read_parquet($matches, hive_partitioning = false) as matches
        join read_parquet($products, hive_partitioning = false) using (institution_id, product_id)
        where explored and coalesce(product_decisions, 0) < $new
        """,
        {
            "matches": _matches(settings, day),
            "products": _mart(settings, day, "products"),
            "new": policy.exploration().new_product_decisions,
        },
    ).fetchone()
    return int(row[0]) if row else 0


def pairs(settings: Settings, day: date, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the funnel from pairs to scored pairs, and the products that were open or not."""
    folder = settings.day_folder(settings.pairs, day)
    return {
        "funnel": _funnel(connection, folder / "funnel.parquet"),
        "products_open": read_manifest(folder)["open_products"],
        "products_closed": _counts(
            connection,
            "select reason, count(*) from read_parquet(?) group by reason order by all",
            folder / "closed_products.parquet",
        ),
        "products_without_outcomes": _counts(
            connection,
            "select '', count(*) from read_parquet(?)"
            " where is_open and coalesce(product_decisions, 0) = 0",
            _mart(settings, day, "products"),
        )[0].count,
    }


def _funnel(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[Count, ...]:
    """Return the pairs that remained after each step, in the order of the table's columns."""
    steps = [name for name in pq.read_schema(path).names if name not in LEAD]
    sums = ", ".join(f'coalesce(sum("{step}"), 0)::bigint' for step in steps)
    row = connection.execute(f"select {sums} from read_parquet(?)", [str(path)]).fetchall()[0]
    return tuple(Count(step, count) for step, count in zip(steps, row, strict=True))


def institutions(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[InstitutionMatches, ...]:
    """Return what each institution with an open product or a match gets, most first."""
    rows = connection.execute(
        INSTITUTIONS, [_matches(settings, day), _mart(settings, day, "products")]
    ).fetchall()
    return tuple(InstitutionMatches(*row) for row in rows)


def channels(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[ChannelMatches, ...]:
    """Return what became of each channel's loaded leads, most leads first."""
    paths = [
        _mart(settings, day, "leads"),
        _matches(settings, day),
        _mart(settings, day, "channels"),
    ]
    return tuple(ChannelMatches(*row) for row in connection.execute(CHANNELS, paths).fetchall())


def silent_channels(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[str, ...]:
    """Return the channels that brought leads in the 30 days before and none today."""
    silent = connection.execute(
        "select channel_id from read_parquet(?) as channels"
        " anti join read_parquet(?) as leads using (channel_id)"
        " where leads_30d > 0 order by channel_id",
        [_mart(settings, day, "channels"), _mart(settings, day, "leads")],
    ).fetchall()
    return tuple(name for (name,) in silent)


def stages(
    settings: Settings, day: date, connection: duckdb.DuckDBPyConnection
) -> tuple[Count, ...]:
    """Return the unmatched leads by the stage at which they ended and why, most first."""
    return _counts(
        connection,
        "select stage, count(*), coalesce(detail, '') from read_parquet(?)"
        " group by stage, detail order by count(*) desc, stage, detail",
        settings.day_folder(settings.unmatched, day) / "unmatched.parquet",
    )


def _counts(
    connection: duckdb.DuckDBPyConnection, query: str, path: Path | str
) -> tuple[Count, ...]:
    return tuple(Count(*row) for row in connection.execute(query, [str(path)]).fetchall())


def _matches(settings: Settings, day: date) -> str:
    return str(settings.day_folder(settings.matches, day) / "matches.parquet")


def _mart(settings: Settings, day: date, name: str) -> str:
    return str(settings.day_folder(settings.marts, day) / f"{name}.parquet")
