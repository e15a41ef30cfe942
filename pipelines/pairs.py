"""Turn the day's leads and products into scored pairs: what each match would bring, and why not.

Leads are taken in portions, so that memory follows the size of a portion and not of the day.
"""

from datetime import date
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from models import score as models
from pipelines.database import connect
from pipelines.eligibility import judge, load_leads, load_products
from pipelines.publish import inputs, publishing, write_parquet
from pipelines.settings import Settings
from pipelines.value import priced_sql, valued_sql

PAIRS_AT_ONCE = 200_000
"""About how many pairs are scored together; a lead's pairs are never torn apart."""

SCHEMA = pa.schema(
    {
        "channel_id": pa.string(),
        "lead_id": pa.string(),
        "institution_id": pa.string(),
        "product_id": pa.string(),
        "segment": pa.string(),
        "currency": pa.string(),
        "amount": pa.float64(),
        "term_months": pa.int64(),
        "pd": pa.float64(),
        "p_approve": pa.float64(),
        "p_fund": pa.float64(),
        "suggested_apr": pa.float64(),
        "expected_spend": pa.float64(),
        "revenue": pa.float64(),
        "person_benefit": pa.float64(),
        "institution_margin": pa.float64(),
        "expected_value": pa.float64(),
        "expected_cost": pa.float64(),
    }
)
"""Columns of `pairs.parquet`; `amount` and `expected_spend` in `currency`, the money that
follows in the base currency."""


def score(settings: Settings, day: date) -> dict[str, Any]:
    """Publish `pairs/date=day`: the eligible pairs with their scores, and why there are no others.

    Writes `pairs.parquet` (`SCHEMA`, by key), `funnel.parquet` (one row per lead that was not
    set aside: products left after each step) and `closed_products.parquet` (with the reason).

    Returns:
        Counts of leads, of open and closed products and of pairs; versions of models and policy.

    Raises:
        InputMissing: The day's marts or the models are not published.
    """
    marts = settings.of_day(settings.marts, day)
    read_from = inputs(marts, home=settings.home)
    model_set = models.load(settings, day)
    facts: dict[str, Any] = {"policy_version": policy.version(), "models": model_set.version}
    with (
        publishing(settings.of_day(settings.pairs, day), facts) as folder,
        connect(settings) as connection,
    ):
        load_leads(connection, marts)
        _score_leads(connection, model_set)
        judge(connection, load_products(connection, marts, day), day)
        pairs = _score_in_portions(connection, model_set)
        write_parquet(pairs, folder / "pairs.parquet")
        write_parquet(_funnel(connection), folder / "funnel.parquet")
        closed = connection.table("closed_products").to_arrow_table()
        write_parquet(closed, folder / "closed_products.parquet")
        counts = {
            "leads": _count(connection, "leads"),
            "open_products": _count(connection, "products"),
            "closed_products": len(closed),
            "pairs": len(pairs),
        }
        facts |= counts | {"inputs": read_from}
    return counts | {"policy_version": facts["policy_version"], "models": facts["models"]}


def features(connection: duckdb.DuckDBPyConnection, pairs: str) -> pa.Table:
    """Return all that the models and the value read of some pairs, ordered by key.

    Args:
        connection: Where `eligibility` has loaded leads and products.
        pairs: SQL table with `lead_row` and `product_row`.
    """
    return connection.sql(
        f"""
        select
            leads.* exclude (
                set_aside_stage, set_aside_detail, same_as_channel_id, same_as_lead_id,
                channels, consent_scope, suppressed_institutions
            ),
            products.* exclude (
                segment, currency, name, status, valid_from, valid_to, admitted_from,
                admitted_to, delivery, format, fields, public_key, is_open, closed_reason
            ),
            channel_costs.cost_per_lead
        from ({pairs}) as pairs
        join leads using (lead_row)
        join products using (product_row)
        left join channel_costs using (channel_id)
        order by lead_row, product_row
        """
    ).to_arrow_table()


def _score_leads(connection: duckdb.DuckDBPyConnection, model_set: models.ModelSet) -> None:
    """Add `pd` to table `leads`: a lead's risk is the same at every product."""
    scored = model_set.score_leads(connection.table("leads").to_arrow_table())
    connection.register("scored_leads", scored)
    connection.execute("create or replace table leads as from scored_leads order by lead_row")
    connection.unregister("scored_leads")


def _score_in_portions(
    connection: duckdb.DuckDBPyConnection, model_set: models.ModelSet
) -> pa.Table:
    """Return the pairs worth making; table `worthwhile` counts what remained of each lead."""
    connection.execute("create or replace table worthwhile (lead_row int, low_value bigint)")
    portions = connection.execute(
        f"""
        select min(lead_row), max(lead_row)
        from (
            select lead_row, sum(len(product_rows)) over (order by lead_row) as pairs_so_far
            from judged
            where product_rows is not null
        )
        group by pairs_so_far // {PAIRS_AT_ONCE}
        order by all
        """
    ).fetchall()
    kept = [_score_portion(connection, model_set, *portion) for portion in portions]
    return pa.concat_tables([SCHEMA.empty_table(), *kept]).combine_chunks()


def _score_portion(
    connection: duckdb.DuckDBPyConnection, model_set: models.ModelSet, first: int, last: int
) -> pa.Table:
    """Return the pairs worth making of the leads `first` to `last`, both included."""
    portion = f"select * from eligible where lead_row between {first} and {last}"
    connection.register("scored", model_set.score(features(connection, portion)))
    weights = policy.value()
    connection.execute(
        f"""
        create or replace table valued as
        select
            *,
            expected_value >= {weights.minimum_value} and expected_value > 0 as is_worthwhile
        from ({valued_sql(f"({priced_sql('scored')})", weights)})
        """
    )
    connection.unregister("scored")
    connection.execute(
        """
        insert into worthwhile
        select lead_row, count(*) filter (is_worthwhile) from valued group by lead_row
        """
    )
    return (
        connection.sql(
            f"""
        select {", ".join(SCHEMA.names)}
        from valued
        where is_worthwhile
        order by lead_row, product_row
        """
        )
        .to_arrow_table()
        .cast(SCHEMA)
    )


def _funnel(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how many products each lead had left after each step ."""
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
