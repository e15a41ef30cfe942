"""Turn the day's leads and products into scored pairs: what each match would bring, and why not."""

from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from models import score as models
from pipelines import odds
from pipelines.database import connect
from pipelines.pairs.eligibility import judge, load_leads, load_products
from pipelines.pairs.scoring import SCHEMA, score_leads, scored_pairs
from pipelines.publish import inputs, publishing, write_batches, write_parquet
from pipelines.settings import Settings


def score(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `pairs/date=day`: the eligible pairs with their scores, and why there are no others.

    Writes `pairs.parquet` (`SCHEMA`, by key), `funnel.parquet` (one row per lead that was not
    set aside: products left after each step), `closed_products.parquet` (with the reason) and the
    ledger of odds given before (`odds.parquet`, `odds.json`), which says how sure scores are.

    Returns:
        Counts of leads, of open and closed products and of pairs; versions of models and policy.

    Raises:
        InputMissing: The day's marts or the models are not published.
    """
    marts = settings.of_day(settings.marts, day)
    read_from = inputs(marts, home=settings.home)
    model_set, learned = models.load(settings, day), odds.learn(settings, day)
    facts: dict[str, Any] = {"policy_version": policy.version(), "models": model_set.version}
    with (
        publishing(settings.of_day(settings.pairs, day), facts) as folder,
        connect(settings) as connection,
    ):
        load_leads(connection, marts)
        score_leads(connection, model_set)
        judge(connection, load_products(connection, marts, day), day)
        batches = scored_pairs(connection, model_set, learned.widths["approval"])
        pairs = pa.RecordBatchReader.from_batches(SCHEMA, batches)
        write_batches(pairs, SCHEMA, folder / "pairs.parquet")
        odds.write(folder, learned)
        write_parquet(_funnel(connection), folder / "funnel.parquet")
        closed = connection.table("closed_products").to_arrow_table()
        write_parquet(closed, folder / "closed_products.parquet")
        counts = {
            "leads": _count(connection, "leads"),
            "open_products": _count(connection, "products"),
            "closed_products": len(closed),
            "pairs": pq.read_metadata(folder / "pairs.parquet").num_rows,
        }
        facts |= counts | {"inputs": read_from}
    return counts | {"policy_version": facts["policy_version"], "models": facts["models"]}


def _funnel(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how many products each lead had left after each step."""
    return connection.sql(
        """
        select
            remaining.* exclude (lead_row),
            coalesce(low_value, 0) as low_value
        from remaining left join worthwhile using (lead_row)
        order by lead_row
        """
    ).to_arrow_table()


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    (count,) = connection.table(table).count("*").fetchall()[0]
    return int(count)
