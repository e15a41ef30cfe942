"""Whether channels cost and products offer what they did on the days before."""

from collections.abc import Iterator
from datetime import date

import duckdb

from expectations import policy
from expectations.policy_types import Levels
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.evaluation.drift.figures import Figure, Grouping, Topic
from pipelines.evaluation.drift.window import Window

TERMS = {
    "price": "price_model, price",
    "annual cost": "apr_min, apr_max",
    "quota": "daily_quota, daily_budget",
    "rules": "rules",
    "status": "is_open",
}
"""What of a product may change, and the columns that say so."""

CATALOGUE = """
create or replace temp table catalogue as
with rules as (

    select
        "date" as day,
        institution_id,
        product_id,
        string_agg(attribute || ' ' || op || ' ' || value, ';' order by attribute, op, value)
            as rules
    from read_parquet($rules, hive_partitioning = true)
    group by all

)

select
    products."date" as day,
    products.*,
    rules.rules
from read_parquet($products, hive_partitioning = true) as products
left join rules
    on
        products."date" = rules.day
        and products.institution_id = rules.institution_id
        and products.product_id = rules.product_id
"""


def catalogue_figures(
    settings: Settings, within: Window, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield how many products changed since the day before, and what the open ones offer."""
    paths = {
        name: [
            str(settings.day_folder(settings.marts, day) / f"{mart}.parquet") for day in within.days
        ]
        for name, mart in {"products": "products", "rules": "product_rules"}.items()
    }
    connection.execute(CATALOGUE, paths)
    today = within.days[-1]
    for what, columns in TERMS.items():
        yield from _changed(what, columns, today, connection)
    yield from _offered(today, connection)


def _changed(
    what: str, columns: str, today: date, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield the share of products of which `columns` are not what they were the day before."""
    rules = policy.drift()
    shares = connection.execute(
        f"""
        select day, count(*), count(*) filter (terms is distinct from terms_before)
        from (
            select
                day,
                row({columns}) as terms,
                lag(row({columns})) over the_product as terms_before,
                row_number() over the_product > 1 as was_there
            from catalogue
            window the_product as (partition by institution_id, product_id order by day)
        )
        where was_there
        group by day
        order by day
        """
    ).fetchall()
    usual = [changed / products for day, products, changed in shares if day < today]
    for day, products, changed in shares:
        if day == today:
            yield Figure(
                topic="changed",
                what=what,
                grouping="all",
                group="",
                statistic="share",
                value=round_significant(changed / products),
                reference=round_significant(sum(usual) / len(usual)) if usual else None,
                distance=round_significant(changed / products),
                watch_from=round_significant(max(rules.lines.changed.watch, *usual, 0)),
                threshold=round_significant(max(rules.lines.changed.drift, *usual, 0)),
                p_value=None,
                rows=products,
                reference_rows=sum(products for day, products, _ in shares if day < today),
                reference_days=len(usual),
            )


def _offered(today: date, connection: duckdb.DuckDBPyConnection) -> Iterator[Figure]:
    """Yield the mean highest price of the open products, and how many are open."""
    rows = connection.execute(
        """
        select day, count(*), cast(avg(cast(apr_max as decimal(18, 6))) as double)
        from catalogue where is_open group by day order by day
        """
    ).fetchall()
    lines = policy.drift().lines.offer
    for what, place in {"open products": 1, "highest annual cost": 2}.items():
        values = {row[0]: (float(row[place]), row[1]) for row in rows}
        yield from _against_mean("offer", what, "all", "", values, today, lines)


def cost_figures(
    settings: Settings, within: Window, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield what a lead of each channel cost over the last 30 days known, as the marts have it."""
    today = within.days[-1]
    rows = connection.execute(
        """
        select channel_id, "date", cost_per_lead, coalesce(leads_30d, 0)
        from read_parquet($channels, hive_partitioning = true)
        where cost_per_lead is not null
        order by channel_id, "date"
        """,
        {
            "channels": [
                str(settings.day_folder(settings.marts, day) / "channels.parquet")
                for day in within.days
            ]
        },
    ).fetchall()
    for channel in sorted({row[0] for row in rows}):
        values = {day: (cost, leads) for name, day, cost, leads in rows if name == channel}
        lines = policy.drift().lines.cost
        yield from _against_mean("cost", "cost per lead", "channel", channel, values, today, lines)


def _against_mean(
    topic: Topic,
    what: str,
    grouping: Grouping,
    group: str,
    values: dict[date, tuple[float, int]],
    today: date,
    lines: Levels,
) -> Iterator[Figure]:
    """Yield today's value against the mean of the days before; `values` come with their rows."""
    before = [value for day, (value, _) in values.items() if day < today]
    if today not in values or len(before) < policy.drift().least_reference_days:
        return
    (value, rows), mean = values[today], sum(before) / len(before)
    if min(value, mean) <= 0:
        return
    yield Figure(
        topic=topic,
        what=what,
        grouping=grouping,
        group=group,
        statistic="mean",
        value=round_significant(value),
        reference=round_significant(mean),
        distance=round_significant(max(value / mean, mean / value) - 1),
        watch_from=lines.watch,
        threshold=lines.drift,
        p_value=None,
        rows=rows,
        reference_rows=sum(rows for day, (_, rows) in values.items() if day < today),
        reference_days=len(before),
    )
