"""Drift of the catalogue and of channel costs: terms of products, cost per lead."""

from collections.abc import Iterator
from dataclasses import replace
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
CLOSED_BY_CHOICE = frozenset({"paused", "expired", "not_valid_yet", "not_admitted"})
"""Reasons of closing that an institution or its platform states itself."""


def catalogue_figures(
    settings: Settings, window: Window, connection: duckdb.DuckDBPyConnection
) -> Iterator[Figure]:
    """Yield the share of products that changed since the day before, and what is on offer."""
    files = {"products": "products", "rules": "product_rules"}
    paths = {
        name: [
            str(settings.day_folder(settings.marts, day) / f"{mart}.parquet") for day in window.days
        ]
        for name, mart in files.items()
    }
    parameters = paths | {"declarations": sorted(CLOSED_BY_CHOICE)}
    run_query(connection, SQL / "catalogue.sql", parameters)
    today = window.days[-1]
    days = run_query(connection, SQL / "catalogue_changes.sql").fetchall()
    for number, measure in enumerate(TERMS):
        column = 2 + 2 * number
        changes = [(row[0], row[1], row[column], row[column + 1]) for row in days]
        yield from _change_figure(measure, changes, today)
    yield from _offer_figures(today, connection)


def _change_figure(
    measure: str, days: list[tuple[date, int, int, int]], today: date
) -> Iterator[Figure]:
    """Yield today's share of changed products.

    Institutions change their terms when they want to, and independently of each other. The distance
    is 0 where fewer than `min_institutions` did so on the same day.

    Args:
        measure: The term.
        days: Each day's products, changed products, and institutions of the changed ones.
        today: The day that is compared with the others.
    """
    rules = policy.drift()
    lines = rules.lines.changed
    usual = [changed / products for day, products, changed, _ in days if day < today]
    for day, products, changed, institutions in days:
        if day == today:
            share = changed / products
            yield Figure(
                topic="changed",
                measure=measure,
                grouping="all",
                group="",
                statistic="share",
                value=round_significant(share),
                reference=round_significant(sum(usual) / len(usual)) if usual else None,
                distance=round_significant(
                    share if institutions >= rules.min_institutions else 0.0
                ),
                watch_threshold=round_significant(max(lines.watch, *usual, 0)),
                drift_threshold=round_significant(max(lines.drift, *usual, 0)),
                p_value=None,
                rows=products,
                reference_rows=sum(products for day, products, *_ in days if day < today),
                reference_days=len(usual),
            )


def _offer_figures(today: date, connection: duckdb.DuckDBPyConnection) -> Iterator[Figure]:
    """Yield the number of offered products and the mean of their highest annual cost.

    More products than before are no drift: a new one is a change that the catalogue lists.
    """
    rows = run_query(connection, SQL / "offered_products.sql").fetchall()
    lines = policy.drift().lines.offer
    values = {day: (float(products), products) for day, products in rows}
    for figure in _compare_with_mean(
        "offer", "offered products", ("all", ""), values, today, lines
    ):
        is_loss = figure.reference is not None and figure.value < figure.reference
        yield figure if is_loss else replace(figure, distance=0.0)
    costs = run_query(connection, SQL / "annual_costs.sql", {"today": today}).fetchall()
    cost_now, cost_before, products, products_before = costs[0]
    days_before = sum(day < today for day in values)
    if days_before >= policy.drift().min_reference_days and min(cost_now or 0, cost_before or 0):
        yield Figure(
            topic="offer",
            measure="highest annual cost",
            grouping="all",
            group="",
            statistic="mean",
            value=round_significant(cost_now),
            reference=round_significant(cost_before),
            distance=round_significant(max(cost_now / cost_before, cost_before / cost_now) - 1),
            watch_threshold=lines.watch,
            drift_threshold=lines.drift,
            p_value=None,
            rows=products,
            reference_rows=int(products_before),
            reference_days=days_before,
        )


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
