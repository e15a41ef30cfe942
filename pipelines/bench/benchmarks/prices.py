"""Shadow prices and rule costs of a published day, against solving the day again.

A sample of the day's limits is changed one at a time, the day is planned again, and what was stated
is compared with what came out. Prices of quotas and of the floor on fees are compared by the dual
bound at the prices, which has no gap of its own; the cost of a rule by the lender's result in the
new plan. Plans know a lender's result no finer than their gaps: what is smaller than the gaps of
both plans together is counted as unresolved.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import click
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from pipelines.allocation.allocate import Plan, allocate
from pipelines.bench.shell import Figures, count_option, show_progress
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.core.database import connect
from pipelines.core.errors import UsageError
from pipelines.core.publishing import read_manifest
from pipelines.core.settings import Settings
from pipelines.matches.build_problem import DayPlan, plan_day
from pipelines.matches.shadow_price_text import RULE_COSTS
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.near_misses import NEAR_MISS_FILE
from pipelines.pairs.valuation import (
    PAIR_SCHEMA,
    load_pairs,
    recompute_value_sql,
    worthwhile_sql,
)

QUOTA_CHANGE = 0.05
"""A quota is raised by this share, by one lead at least."""
FEE_CHANGE = 0.01
"""The floor on fees is lowered by this share."""
TOLERANCE = 0.1
"""A stated figure within this share of the one found is right."""
SEED = 14


@click.command("prices")
@click.option("--date", "day", required=True, help="A business date that was matched.")
@count_option("--limits", 50, "Limits in the sample.")
@click.pass_obj
def command(settings: Settings, *, day: str, limits: int) -> Figures:
    """Compare shadow prices and rule costs of a published day with solving it again.

    The figures have, for `quota`, `rule` and `fees`: the number of `limits` compared, the share
    `within` 10% of what solving again gives, `median_ratio` and `worst_ratio` (stated by found),
    and `pairs` of stated and found. `rule` also has how many are `resolved`, a cost above the money
    by which both plans may lie below the best, and the share of them `within_of_resolved`.
    """
    try:
        business_date = date.fromisoformat(day)
    except ValueError:
        raise UsageError(f"--date {day} is no date such as 2026-02-03.") from None
    return compare_prices(settings, business_date, limits)


def compare_prices(settings: Settings, day: date, limits: int) -> Figures:
    """Return the figures of `command`.

    Raises:
        InputMissing: The day is not published.
    """
    matches = settings.day_folder(settings.matches, day)
    read_manifest(matches)
    costs = pq.read_table(matches / RULE_COSTS, partitioning=None).to_pylist()
    with connect(settings) as connection:
        _load_tables(connection, settings, day)
        plan = _plan(connection, day)
        found = {
            "fees": list(_compare_fees(plan)),
            "quota": list(_compare_quotas(plan, limits // 2)),
        }
        rules = np.array(list(_compare_rules(connection, day, plan, costs, limits // 2)))
    figures = {name: _describe(np.array(pairs).reshape(-1, 2)) for name, pairs in found.items()}
    return figures | {"rule": _describe_rules(rules.reshape(-1, 3))}


def _load_tables(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> None:
    marts, pairs = (settings.day_folder(root, day) for root in (settings.marts, settings.pairs))
    load_leads(connection, marts)
    load_products(connection, marts, day)
    load_pairs(connection, pairs, day)
    connection.read_parquet(str(marts / "leads.parquet")).create_view("mart_leads")
    near = recompute_value_sql(pairs / NEAR_MISS_FILE, day)
    connection.execute(
        f"create table near_misses as select * from ({near}) where {worthwhile_sql()}"
    )
    connection.execute("create table planned_pairs as from pairs")
    connection.execute("drop view pairs")  # a table with other pairs takes its place
    connection.execute("create table pairs as from planned_pairs")


def _plan(connection: duckdb.DuckDBPyConnection, day: date) -> DayPlan:
    return plan_day(
        connection,
        day,
        max_offers=policy.value().max_offers_per_lead,
        limits=policy.limits().on(day),
        guarantees=policy.guarantees(),
    )


def _solve_again(plan: DayPlan, quota: IntArray, lower_fees: float = 0.0) -> Plan:
    """Return the plan under another quota, or with less fees to earn (as a share of the floor)."""
    limits = [
        replace(limit, upper=limit.upper * (1 - lower_fees)) if limit.is_money_floor else limit
        for limit in plan.limits
    ]
    return allocate(
        plan.pairs,
        quota,
        max_offers=policy.value().max_offers_per_lead,
        limits=limits,
        start=plan.prices,
    )


def _compare_fees(plan: DayPlan) -> Iterator[tuple[float, float]]:
    """Yield the price of fees and what a lower floor adds by unit of money, if it has a price."""
    if plan.fee_floor is None or plan.fee_floor.price[0] <= 0:
        return
    released = FEE_CHANGE * float(plan.fee_floor.family.stated[0])
    before = _solve_again(plan, plan.quota)
    after = _solve_again(plan, plan.quota, FEE_CHANGE)
    yield float(plan.fee_floor.price[0]), (after.linear_bound - before.linear_bound) / released


def _compare_quotas(plan: DayPlan, limits: int) -> Iterator[tuple[float, float]]:
    """Yield the price of some scarce quotas, and what more of each adds by lead."""
    scarce = np.flatnonzero(plan.price_of_quota > 0)
    sample = np.random.default_rng(SEED).permutation(scarce)[:limits]
    before = _solve_again(plan, plan.quota)
    for number, product in enumerate(sample.tolist()):
        show_progress("prices", f"quota {number + 1} of {len(sample)}")
        more = max(1, round(QUOTA_CHANGE * int(plan.quota[product])))
        quota = plan.quota.copy()
        quota[product] += more
        after = _solve_again(plan, quota)
        yield float(plan.price_of_quota[product]), (after.linear_bound - before.linear_bound) / more


def _compare_rules(
    connection: duckdb.DuckDBPyConnection,
    day: date,
    plan: DayPlan,
    costs: list[dict[str, Any]],
    limits: int,
) -> Iterator[tuple[float, float, float]]:
    """Yield the stated cost of some rules, what their lender gains in a plan without each, and the
    gaps of both plans together, in money."""
    priced = [row for row in costs if row["value"] > 0]
    order = np.random.default_rng(SEED).permutation(len(priced))[:limits]
    before = _lender_results(connection, plan)
    columns = ", ".join(PAIR_SCHEMA.names)
    for number, place in enumerate(order.tolist()):
        show_progress("prices", f"rule {number + 1} of {len(order)}")
        row = priced[place]
        names = ("institution_id", "product_id", "step", "attribute")
        key = {name: row[name] for name in names}
        connection.execute(
            f"""
            create or replace table pairs as
            select *, row_number() over (
                order by channel_id, lead_id, institution_id, product_id
            ) - 1 as row
            from (
                select {columns} from planned_pairs
                union all
                select {columns} from near_misses
                where {" and ".join(f"{name} = ${name}" for name in names)}
            )
            order by row
            """,
            key,
        )
        without = _plan(connection, day)
        again = _lender_results(connection, without)
        lender = row["institution_id"]
        gaps = plan.bound - plan.value + without.bound - without.value
        yield row["value"], again.get(lender, 0.0) - before.get(lender, 0.0), gaps


def _lender_results(connection: duckdb.DuckDBPyConnection, plan: DayPlan) -> dict[str, float]:
    """Return the margin less the fees of each lender's planned matches."""
    connection.register("chosen_rows", pa.table({"row": plan.chosen}))
    rows = connection.execute(
        """
        select institution_id, sum(institution_margin - revenue)
        from pairs semi join chosen_rows using (row)
        group by institution_id
        """
    ).fetchall()
    connection.unregister("chosen_rows")
    return {str(name): float(result) for name, result in rows}


def _describe_rules(rules: FloatArray) -> Figures:
    """Return the figures of all rules, and of the ones whose cost is above the gaps (column 2)."""
    resolved = rules[np.abs(rules[:, :2]).max(axis=1) > rules[:, 2]]
    return _describe(rules[:, :2]) | {
        "resolved": len(resolved),
        "within_of_resolved": _describe(resolved[:, :2])["within"],
    }


def _describe(pairs: FloatArray) -> Figures:
    stated, found = pairs[:, 0], pairs[:, 1]
    ratio = stated / np.where(found == 0, np.nan, found)
    known = ratio[np.isfinite(ratio)]
    near = np.abs(stated - found) <= TOLERANCE * np.abs(found)
    worst = known[np.argmax(np.abs(known - 1))] if len(known) else None
    return {
        "limits": len(pairs),
        "within": round(float(near.mean()), 3) if len(pairs) else None,
        "median_ratio": round(float(np.median(known)), 3) if len(known) else None,
        "worst_ratio": None if worst is None else round(float(worst), 3),
        "total_ratio": round(float(stated.sum() / found.sum()), 3) if found.sum() else None,
        "pairs": np.round(pairs, 2).tolist(),
    }
