"""Pairs that one hard rule of the product alone keeps apart, scored as if the rule were not there.

Only what the product itself may change counts: its limits of amount and term, its own rules, its
risk band. Consent, suppressions, the law and what the person was shown are nobody's to loosen. What
the models say of such pairs is said beyond what they have seen of the product: an estimate to begin
a talk with, not a promise.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from expectations.policy_types import NearMisses
from models.model_set import ModelSet
from pipelines.core.arrays import IntArray
from pipelines.pairs.eligibility.bitsets import unpacked
from pipelines.pairs.eligibility.engine import requirements_of
from pipelines.pairs.eligibility.near_miss_bits import nearly
from pipelines.pairs.eligibility.rule_index import Requirement
from pipelines.pairs.eligibility.rules import CompiledRules
from pipelines.pairs.scoring import PAIRS_AT_ONCE, SCHEMA, valued_pairs

OWN_STEPS = ("amount", "term", "rules", "risk_band")
"""Steps that rest on what the product itself asks."""

NEAR_MISSES = pa.schema([*SCHEMA, ("step", pa.string()), ("attribute", pa.string())])
"""Columns of `near_misses.parquet`: a scored pair, and the rule that it fails alone."""

FILE = "near_misses.parquet"
"""Beside the pairs of the day."""


@dataclass(frozen=True)
class Missed:
    """Near misses of a day."""

    pairs: pa.Table
    """`NEAR_MISSES`, by key."""
    facts: dict[str, Any]
    """`leads` looked at, out of `of_leads`: a sample stands for all."""


def near_misses(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    rules: CompiledRules,
    day: date,
    limits: NearMisses,
) -> Missed:
    """Return the scored near misses of the day, or of a sample of its leads.

    Args:
        connection: With `leads` (with `pd`) and `products`.
        model_set: Who scores them.
        rules: What the products' own rules ask.
        day: The business date.
        limits: How many leads and pairs are looked at.
    """
    (leads,), (products,) = (
        connection.table(name).count("*").fetchall()[0] for name in ("leads", "products")
    )
    _draw(connection, limits.sampled_leads)
    requirements = requirements_of(connection, rules, day)
    found = _found(connection, requirements, int(products))
    kept, looked_at = _within(connection, found, limits.most_pairs)
    facts = {"leads": looked_at, "of_leads": int(leads), "pairs": kept.num_rows}
    return Missed(_scored(connection, model_set, kept, requirements), facts)


def _draw(connection: duckdb.DuckDBPyConnection, leads: int) -> None:
    """Create table `near_leads`: leads drawn by a lot that their own keys decide, as `lot`."""
    connection.execute(
        """
        create or replace table near_leads as
        select * from (
            select *, row_number() over (
                order by md5_number_lower(concat_ws(chr(31), channel_id, lead_id)), lead_row
            ) - 1 as lot
            from leads
        )
        where lot < $leads
        """,
        {"leads": leads},
    )


def _found(
    connection: duckdb.DuckDBPyConnection, requirements: list[Requirement], products: int
) -> pa.Table:
    """Return `lead_row`, `product_row` and the number of the `requirement` of each near miss."""
    parts = [
        (rows[lead], product, np.full(lead.size, number))
        for portion, missed in nearly(connection, requirements, products, "near_leads")
        for rows in [np.asarray(portion["lead_row"].to_numpy(), np.int64)]
        for number, words in enumerate(missed)
        if requirements[number].step in OWN_STEPS
        for lead, product in [np.nonzero(unpacked(words, products))]
    ]
    names = ("lead_row", "product_row", "requirement")
    columns = [
        np.concatenate([np.empty(0, np.int64), *(part[place] for part in parts)])
        for place in range(len(names))
    ]
    return pa.table(
        {name: pa.array(column, pa.int32()) for name, column in zip(names, columns, strict=True)}
    )


def _within(
    connection: duckdb.DuckDBPyConnection, found: pa.Table, most: int
) -> tuple[pa.Table, int]:
    """Return the near misses of the first leads by lot that fit into `most`, and how many leads."""
    connection.register("near_found", found)
    kept = connection.execute(
        """
        with so_far as (
            select
                lead_row,
                sum(coalesce(pairs, 0)) over (order by lot) as pairs
            from near_leads
            left join (
                select lead_row, count(*) as pairs from near_found group by lead_row
            ) using (lead_row)
        )

        select lead_row from so_far where pairs <= ?
        """,
        [most],
    ).fetchnumpy()["lead_row"]
    connection.unregister("near_found")
    is_kept = np.isin(found["lead_row"].to_numpy(), np.asarray(kept))
    return found.filter(pa.array(is_kept)), len(kept)


def _scored(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    pairs: pa.Table,
    requirements: list[Requirement],
) -> pa.Table:
    connection.register("near_pairs", pairs)
    ordered = connection.sql("from near_pairs order by lead_row, product_row").to_arrow_table()
    connection.unregister("near_pairs")
    parts = [
        valued_pairs(connection, model_set, ordered.slice(start, PAIRS_AT_ONCE))
        for start in range(0, ordered.num_rows, PAIRS_AT_ONCE)
    ]
    if not parts:
        return NEAR_MISSES.empty_table()
    which: IntArray = np.asarray(ordered["requirement"].to_numpy(), np.int64)
    scored = pa.concat_tables(parts).select(SCHEMA.names)
    for name in ("step", "attribute"):
        told = np.array([getattr(asked, name) for asked in requirements], np.str_)
        scored = scored.append_column(name, pa.array(told[which], pa.string()))
    return scored.cast(NEAR_MISSES)
