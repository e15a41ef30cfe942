"""The trials of a day: what the lot put beside the plan, with which chance, and what it costs."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from expectations.policy_types import Exploration
from pipelines.core.arrays import FloatArray, IntArray
from pipelines.matches.build_problem import DayPlan
from pipelines.matches.exploration import Terms, Trials, after_prices, draw_trials

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
"""Columns of `trials.parquet`: every pair of the day that was left to the lot, drawn or not. A pair
that is neither here nor among the matches was none with certainty, whatever the lot."""


KEY = "channel_id, lead_id, institution_id, product_id"

TRIALS = "trials.parquet"
"""Beside the matches of the day."""


@dataclass(frozen=True)
class Made:
    """The matches of a day once the lot has spoken; rows are those of table `pairs`."""

    row: IntArray
    """Of the matches."""
    explored: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """Of each match: whether it was drawn, and not planned."""
    propensity: FloatArray
    """Of each match: the probability with which the plan and its lot make it."""
    trials: Trials
    price_of_learning: float
    """What the plan would be worth more without trials, in expectation and money."""


def try_out(
    connection: duckdb.DuckDBPyConnection,
    plan: DayPlan,
    day: date,
    *,
    most_offers: int,
    policy: Exploration,
) -> Made:
    """Return the matches of the plan with the trials that the day's lot draws beside it.

    Each lot comes from the date and the keys alone: the same day draws the same trials.

    Args:
        connection: With the table `products`.
        plan: The plan of `day`.
        day: The business date.
        most_offers: Most matches of one lead.
        policy: How much is tried out; a share of 0: nothing.
    """
    found = connection.execute(
        """
        select
            coalesce(product_decisions, 0) as decisions,
            md5_number_lower(
                concat_ws(chr(31), 'trials', $day, institution_id, product_id)
            ) >> 32 as lot
        from products order by product_row
        """,
        {"day": day.isoformat()},
    ).fetchnumpy()
    is_planned = np.zeros(len(plan.candidates.lead), np.bool_)
    is_planned[plan.chosen] = True
    trials = draw_trials(
        plan.candidates,
        is_planned,
        surplus=after_prices(plan.candidates, plan.limits, plan.prices),
        terms=Terms(
            plan.quota,
            np.asarray(found["decisions"], np.int64),
            np.asarray(found["lot"], np.int64),
        ),
        limits=plan.limits,
        most_offers=most_offers,
        policy=policy,
    )
    propensity = is_planned.astype(np.float64)
    propensity[trials.row] = trials.propensity
    is_made = is_planned.copy()
    is_made[trials.row] = trials.is_made
    row, value = np.flatnonzero(is_made), plan.candidates.value
    cost = float(value[trials.gave_way].sum() - value[trials.drawn].sum())
    return Made(row, ~is_planned[row], propensity[row], trials, round(cost, 4))


def log(connection: duckdb.DuckDBPyConnection, trials: Trials) -> pa.Table:
    """Return the pairs that were left to the lot, by key (`SCHEMA`).

    Args:
        connection: With the table `pairs` (`row`).
        trials: What was left to the lot.
    """
    columns = ("row", "is_planned", "propensity", "is_made")
    connection.register("lots", pa.table({name: getattr(trials, name) for name in columns}))
    found = connection.sql(
        f"select {', '.join(SCHEMA.names)} from pairs join lots using (row) order by row"
    )
    return found.to_arrow_table().cast(SCHEMA)


def create_chances_view(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Create `matches`, `trials`, and `chances`: every pair that had one to be made on a day.

    `chances` has the key, the `propensity` with which the pair was made a match, `is_planned`,
    `is_made`, and `is_by_lot`: whether the lot had a say. Any other pair's chance was none.

    Args:
        connection: Where the views are made.
        folder: The published `matches/date=D`.
    """
    for name, file in (("matches", "matches.parquet"), ("trials", TRIALS)):
        connection.read_parquet(str(folder / file), hive_partitioning=False).create_view(name)
    connection.execute(
        f"""
        create view chances as
        select
            {KEY},
            coalesce(trials.propensity, 1.0) as propensity,
            coalesce(trials.is_planned, true) as is_planned,
            coalesce(trials.is_made, true) as is_made,
            trials.is_made is not null as is_by_lot
        from matches full join trials using ({KEY})
        """
    )
