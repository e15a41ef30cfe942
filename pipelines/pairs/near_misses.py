"""Near misses: pairs that one hard rule of the product alone excludes, scored without that rule.

Only the product's own terms count: its limits of amount and term, its own rules, the costs that it
states, its risk band.
Consent, suppressions, the law and contact frequency cannot be loosened. The models extrapolate
here, beyond the leads that they have seen at the product: an estimate to start a negotiation with,
not a promise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from expectations.policy_types import NearMisses
from models.model_set import ModelSet
from pipelines.core.arrays import IntArray
from pipelines.pairs.eligibility.bitsets import Bitsets, pack, unpack
from pipelines.pairs.eligibility.engine import build_requirements, read_lead_batches
from pipelines.pairs.eligibility.load_inputs import MATCHED_AMOUNT
from pipelines.pairs.eligibility.rule_index import Requirement
from pipelines.pairs.eligibility.rules import CompiledRules
from pipelines.pairs.scoring import PAIRS_PER_BATCH, score_pairs
from pipelines.pairs.valuation import PAIR_SCHEMA

PRODUCT_STEPS = ("amount", "term", "rules", "cost_disclosure", "risk_band")
"""Steps that a product may change."""

NEAR_MISS_SCHEMA = pa.schema([*PAIR_SCHEMA, ("step", pa.string()), ("attribute", pa.string())])
"""Columns of `near_misses.parquet`: a scored pair, and the only rule that it fails."""

NEAR_MISS_FILE = "near_misses.parquet"
"""Beside the pairs of the day."""


@dataclass(frozen=True)
class NearMissSample:
    """Scored near misses of a day."""

    pairs: pa.Table
    """`NEAR_MISS_SCHEMA`, by key."""
    facts: dict[str, Any]
    """Counts of `pairs` and of the sampled `leads`, out of `of_leads`."""


def score_near_misses(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    rules: CompiledRules,
    day: date,
    limits: NearMisses,
) -> NearMissSample:
    """Return the scored near misses of the day, or of a sample of its leads.

    Args:
        connection: With `leads` (with `pd`) and `products`.
        model_set: Models of the day.
        rules: The products' own rules.
        day: The business date.
        limits: Numbers of leads and pairs to use.
    """
    (leads,), (products,) = (
        connection.table(name).count("*").fetchall()[0] for name in ("leads", "products")
    )
    _sample_leads(connection, limits.sampled_leads)
    requirements = build_requirements(connection, rules, day)
    missed = _list_product_misses(connection, requirements, int(products))
    kept, kept_leads = _keep_whole_leads(connection, missed, limits.max_pairs)
    facts = {"leads": kept_leads, "of_leads": int(leads), "pairs": kept.num_rows}
    return NearMissSample(_score(connection, model_set, kept, requirements), facts)


def find_near_misses(
    connection: duckdb.DuckDBPyConnection,
    requirements: Sequence[Requirement],
    products: int,
    leads: str = "leads",
) -> Iterator[tuple[pa.Table, list[Bitsets]]]:
    """Yield batches of leads, and for each requirement the products that it alone excludes.

    Each lead carries two sets of products: `none` failed no requirement so far, `once` failed
    exactly one. After the last requirement, the near misses of a requirement are the products of
    `once` that it excludes.

    Args:
        connection: With the tables that `requirements` were built from.
        requirements: Every requirement of a pair.
        products: Number of open products.
        leads: Table of the leads to use.
    """
    every = pack(np.ones(products, np.bool_))
    for batch in read_lead_batches(connection, requirements, leads):
        excluded = [~requirement.admit(batch) for requirement in requirements]
        yield batch, _excluded_once(excluded, np.tile(every, (batch.num_rows, 1)))


def _excluded_once(excluded: list[Bitsets], every: Bitsets) -> list[Bitsets]:
    none, once = every, np.zeros_like(every)
    for products in excluded:
        none, once = none & ~products, (once & ~products) | (none & products)
    return [once & products for products in excluded]


def _sample_leads(connection: duckdb.DuckDBPyConnection, leads: int) -> None:
    """Create table `sampled_leads`: leads in the order of a hash of their keys, `sample_order`."""
    connection.execute(
        """
        create or replace table sampled_leads as
        select * from (
            select *, row_number() over (
                order by md5_number_lower(concat_ws(chr(31), channel_id, lead_id)), lead_row
            ) - 1 as sample_order
            from leads
        )
        where sample_order < $leads
        """,
        {"leads": leads},
    )


def _list_product_misses(
    connection: duckdb.DuckDBPyConnection, requirements: list[Requirement], products: int
) -> pa.Table:
    """Return `lead_row`, `product_row` and the number of the `requirement` of each near miss."""
    parts = [
        (rows[lead], product, np.full(lead.size, number))
        for batch, missed in find_near_misses(connection, requirements, products, "sampled_leads")
        for rows in [np.asarray(batch["lead_row"].to_numpy(), np.int64)]
        for number, bitsets in enumerate(missed)
        if requirements[number].step in PRODUCT_STEPS
        for lead, product in [np.nonzero(unpack(bitsets, products))]
    ]
    names = ("lead_row", "product_row", "requirement")
    columns = [
        np.concatenate([np.empty(0, np.int64), *(part[position] for part in parts)])
        for position in range(len(names))
    ]
    return pa.table(
        {name: pa.array(column, pa.int32()) for name, column in zip(names, columns, strict=True)}
    )


def _keep_whole_leads(
    connection: duckdb.DuckDBPyConnection, missed: pa.Table, most: int
) -> tuple[pa.Table, int]:
    """Return the near misses of the first sampled leads that fit into `most`, and their leads."""
    connection.register("missed_pairs", missed)
    kept = connection.execute(
        """
        with running_pairs as (
            select
                lead_row,
                sum(coalesce(pairs, 0)) over (order by sample_order) as pairs
            from sampled_leads
            left join (
                select lead_row, count(*) as pairs from missed_pairs group by lead_row
            ) using (lead_row)
        )

        select lead_row from running_pairs where pairs <= ?
        """,
        [most],
    ).fetchnumpy()["lead_row"]
    connection.unregister("missed_pairs")
    is_kept = np.isin(missed["lead_row"].to_numpy(), np.asarray(kept))
    return missed.filter(pa.array(is_kept)), len(kept)


def _score(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    pairs: pa.Table,
    requirements: list[Requirement],
) -> pa.Table:
    """Return the pairs with scores and the step and attribute of the rule that they fail."""
    connection.register("missed_pairs", pairs)
    ordered = connection.sql("from missed_pairs order by lead_row, product_row").to_arrow_table()
    connection.unregister("missed_pairs")
    batches = [
        score_pairs(connection, model_set, ordered.slice(start, PAIRS_PER_BATCH))
        for start in range(0, ordered.num_rows, PAIRS_PER_BATCH)
    ]
    if not batches:
        return NEAR_MISS_SCHEMA.empty_table()
    which: IntArray = np.asarray(ordered["requirement"].to_numpy(), np.int64)
    scored = pa.concat_tables(batches).select(PAIR_SCHEMA.names)
    for name in ("step", "attribute"):
        texts = [getattr(requirement, name) for requirement in requirements]
        values = np.array(["amount" if t == MATCHED_AMOUNT else t for t in texts], np.str_)
        scored = scored.append_column(name, pa.array(values[which], pa.string()))
    return scored.cast(NEAR_MISS_SCHEMA)
