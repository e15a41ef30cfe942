"""Score step of a day: from leads and products to eligible pairs with scores and value."""

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from models import model_set as models
from pipelines.core.database import connect
from pipelines.core.engine.engine import open_engine
from pipelines.core.publishing import hash_inputs, publishing, write_batches, write_parquet
from pipelines.core.settings import Settings
from pipelines.pairs.calibration_ledger import build_ledger, write_ledger
from pipelines.pairs.eligibility.engine import Eligibility, find_eligible_pairs
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.near_misses import NEAR_MISS_FILE, score_near_misses
from pipelines.pairs.prefilter import select_promising_pairs
from pipelines.pairs.prefilter_loss import SAMPLE_FILE
from pipelines.pairs.scoring import score_eligible_pairs, score_leads
from pipelines.pairs.valuation import (
    PAIR_SCHEMA,
    count_pairs_sql,
    impossible_value_sql,
    least_odds_sql,
)


def score(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `pairs/date=day`: the eligible pairs with scores and value, and the funnel.

    Writes `pairs.parquet` (`PAIR_SCHEMA`, by key, valued by the current policy), `funnel.parquet`
    (one row a lead that is not excluded: eligible products after each step),
    `closed_products.parquet` (with the reason), the calibration ledger, which sets the width of
    intervals (`calibration_ledger.parquet`, `calibration_statistics.json`), the pairs that rule
    costs are computed from (`near_misses.parquet`) and, on a day that is prefiltered, the pairs
    that its loss is measured on (`prefilter_sample.parquet`).

    Returns:
        Counts of leads, of open and closed products and of pairs; versions of models and policy.

    Raises:
        InputMissing: The day's marts or the models are not published.
        EngineUnavailable: The engine of `BANYAN_ENGINE` cannot be used.
    """
    marts = settings.day_folder(settings.marts, day)
    read_from = hash_inputs(marts, home=settings.home)
    model_set, ledger = models.load(settings, day), build_ledger(settings, day)
    facts: dict[str, Any] = {
        "policy_version": policy.version(),
        "policy_version_of_scoring": policy.version(*policy.MATCHING_POLICIES),
        "models": model_set.version,
    }
    with (
        publishing(settings.day_folder(settings.pairs, day), facts) as folder,
        connect(settings) as connection,
        open_engine(settings) as engine,
    ):
        load_leads(connection, marts)
        score_leads(connection, model_set, engine)
        rules = load_products(connection, marts, day)
        eligibility = find_eligible_pairs(connection, rules, day, engine=engine)
        selected = select_promising_pairs(
            connection, model_set, eligibility, policy.pairs().candidates, day, engine
        )
        write_batches(
            score_eligible_pairs(
                connection, model_set, selected.eligibility, ledger.widths, engine
            ),
            PAIR_SCHEMA,
            folder / "pairs.parquet",
        )
        write_ledger(folder, ledger)
        if selected.sample is not None:
            write_parquet(selected.sample, folder / SAMPLE_FILE)
        near_misses = score_near_misses(
            connection, model_set, rules, day, policy.pairs().near_misses
        )
        write_parquet(near_misses.pairs, folder / NEAR_MISS_FILE)
        funnel = _build_funnel(connection, eligibility, folder / "pairs.parquet", day)
        write_parquet(funnel, folder / "funnel.parquet")
        closed = connection.table("closed_products").to_arrow_table()
        write_parquet(closed, folder / "closed_products.parquet")
        counts = {
            "leads": _count(connection, "leads"),
            "open_products": _count(connection, "products"),
            "closed_products": len(closed),
            "pairs": pq.read_metadata(folder / "pairs.parquet").num_rows,
        }
        facts |= counts | {
            "inputs": read_from,
            "prefilter": selected.facts,
            "near_misses": near_misses.facts,
            "findings": _list_impossible_pairs(connection, folder / "pairs.parquet"),
        }
    return counts | {"policy_version": facts["policy_version"], "models": facts["models"]}


def _build_funnel(
    connection: duckdb.DuckDBPyConnection, eligibility: Eligibility, scored: Path, day: date
) -> pa.Table:
    """Return the number of products that each lead had after each step."""
    remaining = {step: pa.array(counts) for step, counts in eligibility.remaining.items()}
    rows = pa.array(np.arange(len(eligibility.bitsets)), pa.int32())
    connection.register("remaining", pa.table({"lead_row": rows} | remaining))
    steps = ", ".join(f"remaining.{step}::bigint as {step}" for step in remaining)
    valued = f"""
        select scored.*, {least_odds_sql(day)} as least_odds
        from read_parquet($scored, hive_partitioning = false) as scored
        join leads using (channel_id, lead_id)
    """
    return connection.sql(
        f"""
        select
            channel_id, lead_id, {steps},
            coalesce(pair_counts.low_odds, 0) as low_odds,
            coalesce(pair_counts.low_value, 0) as low_value
        from leads
        join remaining using (lead_row)
        left join ({count_pairs_sql(valued)}) as pair_counts using (channel_id, lead_id)
        order by lead_row
        """,
        params={"scored": str(scored)},
    ).to_arrow_table()


def _list_impossible_pairs(
    connection: duckdb.DuckDBPyConnection, scored: Path
) -> list[dict[str, Any]]:
    """Return the finding on products with pairs of an impossible value; no such pair is matched."""
    rows = connection.sql(
        f"""
        select institution_id || '/' || product_id as name, count(*) as pairs
        from read_parquet($scored, hive_partitioning = false)
        where {impossible_value_sql()}
        group by name
        order by name
        """,
        params={"scored": str(scored)},
    ).fetchall()
    if not rows:
        return []
    pairs = sum(count for _, count in rows)
    names = [name for name, _ in rows]
    return [{"id": "pair_value_impossible", "count": pairs, "sources": names}]


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = connection.table(table).count("*").fetchall()[0]
    return int(count)
