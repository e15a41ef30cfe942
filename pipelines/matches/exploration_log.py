"""The exploration of a day: the matches after the draw, propensities, log and cost."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from expectations.policy_types import Exploration
from pipelines.core.arrays import BoolArray, FloatArray, IntArray
from pipelines.core.database import query_table, run_query
from pipelines.matches.build_problem import DayPlan
from pipelines.matches.exploration import (
    ExplorationDraw,
    ProductTerms,
    compute_surplus,
    draw_exploration,
)
from pipelines.matches.match_id import SQL

SCHEMA = pa.schema(
    {
        "channel_id": pa.string(),
        "lead_id": pa.string(),
        "institution_id": pa.string(),
        "product_id": pa.string(),
        "is_planned": pa.bool_(),
        "propensity": pa.float64(),
        "is_made": pa.bool_(),
        "expected_value": pa.float64(),
    }
)
"""Columns of the log: every pair of the day whose match was decided by the draw. A pair that is
neither in the log nor among the matches had the propensity 0."""

FILE = "exploration_log.parquet"
"""Name of the log's file, in the folder of the day's matches."""


@dataclass(frozen=True)
class ExploredPlan:
    """The matches of a day after the draw, by row number of the table `pairs`."""

    row: IntArray
    """Row number of each match."""
    explored: BoolArray
    """Flag of matches that were drawn, and not planned."""
    propensity: FloatArray
    """Probability with which plan and draw make each match."""
    draw: ExplorationDraw
    exploration_cost: float
    """Expected value of the plan given up for exploration."""


def explore_plan(
    connection: duckdb.DuckDBPyConnection,
    plan: DayPlan,
    day: date,
    *,
    max_offers: int,
    policy: Exploration,
) -> ExploredPlan:
    """Return the matches of the plan after the day's exploration draw.

    The random keys depend on the date and the keys alone: the same day draws the same pairs.

    Args:
        connection: With the table `products`.
        plan: The plan of `day`.
        day: The business date.
        max_offers: Most matches of one lead.
        policy: The exploration policy; with share 0 nothing is explored.
    """
    columns = run_query(
        connection, SQL / "rounding_keys.sql", {"day": day.isoformat()}
    ).fetchnumpy()
    is_planned = plan.is_planned
    draw = draw_exploration(
        plan.pairs,
        is_planned,
        surplus=compute_surplus(plan.pairs, plan.limits, plan.prices),
        terms=ProductTerms(
            plan.quota,
            np.asarray(columns["decisions"], np.int64),
            np.asarray(columns["rounding_key"], np.int64),
        ),
        limits=plan.limits,
        max_offers=max_offers,
        policy=policy,
    )
    propensity = is_planned.astype(np.float64)
    propensity[draw.row] = draw.propensity
    is_made = is_planned.copy()
    is_made[draw.row] = draw.is_made
    made, value = np.flatnonzero(is_made), plan.pairs.value
    cost = float(value[draw.displaced].sum() - value[draw.drawn].sum())
    return ExploredPlan(plan.row[made], ~is_planned[made], propensity[made], draw, round(cost, 4))


def build_exploration_log(
    connection: duckdb.DuckDBPyConnection, plan: DayPlan, draw: ExplorationDraw
) -> pa.Table:
    """Return the pairs that the draw decided, with the columns of `SCHEMA`, ordered by key.

    Args:
        connection: With the table `pairs` (`row`).
        plan: The plan of the day.
        draw: The draw of the day.
    """
    columns = {name: getattr(draw, name) for name in ("is_planned", "propensity", "is_made")}
    connection.register("drawn_rows", pa.table({"row": plan.row[draw.row]} | columns))
    return query_table(connection, SQL / "exploration_log.sql").cast(SCHEMA)


def create_propensity_view(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Create the views `matches`, `exploration_log` and `propensities` (all possible matches).

    `propensities` has the key, `propensity`, `is_planned`, `is_made`, and `is_randomised`: the draw
    decided the pair. The propensity of any other pair is 0.

    Args:
        connection: Where the views are created.
        folder: The published `matches/date=D`.
    """
    for name, file in (("matches", "matches.parquet"), ("exploration_log", FILE)):
        connection.read_parquet(str(folder / file), hive_partitioning=False).create_view(name)
    run_query(connection, SQL / "propensities.sql")
