"""Turn the day's leads and products into scored pairs: what each match would bring, and why not."""

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
from pipelines.core.publishing import hash_inputs, publishing, write_batches, write_parquet
from pipelines.core.settings import Settings
from pipelines.pairs import calibration_ledger
from pipelines.pairs.eligibility.engine import Eligibility, judge
from pipelines.pairs.eligibility.load_inputs import load_leads, load_products
from pipelines.pairs.near_misses import FILE as NEAR_MISSES
from pipelines.pairs.near_misses import near_misses
from pipelines.pairs.prefilter import cut
from pipelines.pairs.prefilter_loss import SAMPLE
from pipelines.pairs.revaluing import worthwhile_sql
from pipelines.pairs.scoring import SCHEMA, score_leads, scored_pairs


def score(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `pairs/date=day`: the eligible pairs with their scores, and why there are no others.

    Writes `pairs.parquet` (`SCHEMA`, by key, valued by the weights of now), `funnel.parquet` (one
    row per lead that was not set aside: products left after each step), `closed_products.parquet`
    (with the reason), the ledger of odds given before (`odds.parquet`, `odds.json`), which says how
    sure scores are, what `match` needs to tell what a product's rules cost it
    (`near_misses.parquet`) and, on a day of too many pairs, what cutting them cost
    (`cut_sample.parquet`).

    Returns:
        Counts of leads, of open and closed products and of pairs; versions of models and policy.

    Raises:
        InputMissing: The day's marts or the models are not published.
    """
    marts = settings.day_folder(settings.marts, day)
    read_from = hash_inputs(marts, home=settings.home)
    model_set, learned = models.load(settings, day), calibration_ledger.learn(settings, day)
    facts: dict[str, Any] = {
        "policy_version": policy.version(),
        "policy_version_of_scoring": policy.version(*policy.OF_MATCHING),
        "models": model_set.version,
    }
    with (
        publishing(settings.day_folder(settings.pairs, day), facts) as folder,
        connect(settings) as connection,
    ):
        load_leads(connection, marts)
        score_leads(connection, model_set)
        rules = load_products(connection, marts, day)
        judged = judge(connection, rules, day)
        chosen = cut(connection, model_set, judged, policy.pairs().candidates)
        write_batches(
            scored_pairs(connection, model_set, chosen.judged, learned.widths),
            SCHEMA,
            folder / "pairs.parquet",
        )
        calibration_ledger.write(folder, learned)
        if chosen.sample is not None:
            write_parquet(chosen.sample, folder / SAMPLE)
        missed = near_misses(connection, model_set, rules, day, policy.pairs().near_misses)
        write_parquet(missed.pairs, folder / NEAR_MISSES)
        write_parquet(
            _funnel(connection, judged, folder / "pairs.parquet"), folder / "funnel.parquet"
        )
        closed = connection.table("closed_products").to_arrow_table()
        write_parquet(closed, folder / "closed_products.parquet")
        counts = {
            "leads": _count(connection, "leads"),
            "open_products": _count(connection, "products"),
            "closed_products": len(closed),
            "pairs": pq.read_metadata(folder / "pairs.parquet").num_rows,
        }
        facts |= counts | {"inputs": read_from, "cut": chosen.facts, "near_misses": missed.facts}
    return counts | {"policy_version": facts["policy_version"], "models": facts["models"]}


def _funnel(connection: duckdb.DuckDBPyConnection, judged: Eligibility, scored: Path) -> pa.Table:
    """Return how many products each lead had left after each step."""
    remaining = {step: pa.array(counts) for step, counts in judged.remaining.items()}
    rows = pa.array(np.arange(len(judged.words)), pa.int32())
    connection.register("remaining", pa.table({"lead_row": rows} | remaining))
    steps = ", ".join(f"remaining.{step}::bigint as {step}" for step in remaining)
    return connection.sql(
        f"""
        select channel_id, lead_id, {steps}, coalesce(worthwhile.pairs, 0) as low_value
        from leads
        join remaining using (lead_row)
        left join (
            select channel_id, lead_id, count(*) as pairs
            from read_parquet($scored, hive_partitioning = false)
            where {worthwhile_sql()}
            group by all
        ) as worthwhile using (channel_id, lead_id)
        order by lead_row
        """,
        params={"scored": str(scored)},
    ).to_arrow_table()


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = connection.table(table).count("*").fetchall()[0]
    return int(count)
