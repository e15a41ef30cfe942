"""Drift of the catalogue and of channel costs: terms of products, cost per lead."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb

from expectations import policy
from expectations.policy_types import Levels
from pipelines.core.database import run_query
from pipelines.core.settings import Settings
from pipelines.core.statistics import round_significant
from pipelines.evaluation.drift.comparison import Figure, Grouping, Topic, Window

SQL = Path(__file__).parent / "sql"
TERMS = ("price", "annual cost", "quota", "rules", "status")
"""Terms of a product whose changes are counted, in the order of the query's columns."""


def catalogue_figures(
    settings: Settings, window: Window, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield the share of products that changed since the day before, and the open products."""
    files = {"products": "products", "rules": "product_rules"}
    paths = {
        name: [
            str(settings.day_folder(settings.marts, day) / f"{mart}.parquet") for day in window.days
        ]
        for name, mart in files.items()
    }
    run_query(connection, SQL / "catalogue.sql", paths)
    today = window.days[-1]
    days = run_query(connection, SQL / "catalogue_changes.sql").fetchall()
    for column, measure in enumerate(TERMS, start=2):
        shares = [(row[0], row[1], row[column]) for row in days]
        yield from _change_figure(measure, shares, today)
    yield from _open_product_figures(today, connection)


def _change_figure(
    measure: str, days: list[tuple[date, int, int]], today: date
) -> Iterator[Figure]:
    """Yield today's share of changed products; `days` have their products and changed products."""
    lines = policy.drift().lines.changed
    usual = [changed / products for day, products, changed in days if day < today]
    for day, products, changed in days:
        if day == today:
            yield Figure(
                topic="changed",
                measure=measure,
                grouping="all",
                group="",
                statistic="share",
                value=round_significant(changed / products),
                reference=round_significant(sum(usual) / len(usual)) if usual else None,
                distance=round_significant(changed / products),
                watch_threshold=round_significant(max(lines.watch, *usual, 0)),
                drift_threshold=round_significant(max(lines.drift, *usual, 0)),
                p_value=None,
                rows=products,
                reference_rows=sum(products for day, products, _ in days if day < today),
                reference_days=len(usual),
            )


def _open_product_figures(today: date, connection: duckdb.DuckDBPyConnection) -> Iterator[Figure]:
    """Yield the number of open products and the mean of their highest annual cost."""
    rows = run_query(connection, SQL / "open_products.sql").fetchall()
    lines = policy.drift().lines.offer
    for measure, column in {"open products": 1, "highest annual cost": 2}.items():
        values = {row[0]: (float(row[column]), row[1]) for row in rows}
        yield from _compare_with_mean("offer", measure, ("all", ""), values, today, lines)


def cost_figures(
    settings: Settings, window: Window, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield the cost per lead of each channel over the last 30 days known, as the marts have it."""
    today = window.days[-1]
    paths = [
        str(settings.day_folder(settings.marts, day) / "channels.parquet") for day in window.days
    ]
    rows = run_query(connection, SQL / "cost_per_lead.sql", {"channels": paths}).fetchall()
    lines = policy.drift().lines.cost
    for channel in sorted({row[0] for row in rows}):
        values = {day: (cost, leads) for name, day, cost, leads in rows if name == channel}
        where: tuple[Grouping, str] = ("channel", channel)
        yield from _compare_with_mean("cost", "cost per lead", where, values, today, lines)


def _compare_with_mean(
    topic: Topic,
    measure: str,
    where: tuple[Grouping, str],
    values: dict[date, tuple[float, int]],
    today: date,
    lines: Levels,
) -> Iterator[Figure]:
    """Yield today's value against the mean of the days before; `values` have their rows."""
    before = [value for day, (value, _) in values.items() if day < today]
    if today not in values or len(before) < policy.drift().min_reference_days:
        return
    (value, rows), mean = values[today], sum(before) / len(before)
    if min(value, mean) <= 0:
        return
    yield Figure(
        topic=topic,
        measure=measure,
        grouping=where[0],
        group=where[1],
        statistic="mean",
        value=round_significant(value),
        reference=round_significant(mean),
        distance=round_significant(max(value / mean, mean / value) - 1),
        watch_threshold=lines.watch,
        drift_threshold=lines.drift,
        p_value=None,
        rows=rows,
        reference_rows=sum(rows for day, (_, rows) in values.items() if day < today),
        reference_days=len(before),
    )
