"""Score pairs in portions of leads, so that memory follows the portion and not the day."""

from collections.abc import Iterator, Mapping

import duckdb
import pyarrow as pa

from expectations import policy
from models.model_set import OUTPUTS, ModelSet
from models.scoring.uncertainty import Widths, with_intervals
from pipelines.pairs.eligibility.engine import Eligibility
from pipelines.pairs.valuation import priced_sql, valued_sql

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
        "pd_low": pa.float64(),
        "pd_high": pa.float64(),
        "p_approve_low": pa.float64(),
        "p_approve_high": pa.float64(),
        "p_fund_low": pa.float64(),
        "p_fund_high": pa.float64(),
        "suggested_apr": pa.float64(),
        "expected_spend": pa.float64(),
        "revenue": pa.float64(),
        "person_fit": pa.float64(),
        "person_benefit": pa.float64(),
        "institution_margin": pa.float64(),
        "expected_value": pa.float64(),
        "expected_cost": pa.float64(),
    }
)
"""Columns of `pairs.parquet`. `NAME_low` and `NAME_high` are the interval of a probability, wide
for new products and rare leads (`models.scoring.uncertainty`); `amount` and `expected_spend` are in
`currency`, the money that follows in the base currency. A pair worth too little to be made stands
there, too: other weights may find otherwise."""


NOTHING_LEARNED: Mapping[str, Widths] = {}
"""How sure scores are before any outcome is known."""


def score_leads(connection: duckdb.DuckDBPyConnection, model_set: ModelSet) -> None:
    """Add `pd` to table `leads`: a lead's risk is the same at every product."""
    scored = model_set.score_leads(connection.table("leads").to_arrow_table())
    connection.register("scored_leads", scored)
    connection.execute("create or replace table leads as from scored_leads order by lead_row")
    connection.unregister("scored_leads")


def scored_pairs(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    judged: Eligibility,
    widths: Mapping[str, Widths],
) -> Iterator[pa.RecordBatch]:
    """Yield the eligible pairs, scored and valued, with the columns of `SCHEMA`, ordered by key.

    Args:
        connection: Where leads and products are loaded.
        model_set: Who says how likely what is.
        judged: Which pairs the hard rules leave.
        widths: How sure it is of each probability, by model; of one not named, as is assumed while
            nothing is known.
    """
    for first, last in judged.portions(PAIRS_AT_ONCE):
        pairs = judged.table(first, last)
        if pairs.num_rows:
            valued = valued_pairs(connection, model_set, pairs, widths)
            yield from valued.select(SCHEMA.names).cast(SCHEMA).to_batches()


def features(connection: duckdb.DuckDBPyConnection, pairs: str) -> pa.Table:
    """Return all that the models and the value read of some pairs, ordered by key.

    A pair is priced by the lead's pd, and taken to be its lead's first offer: at which place it
    comes is known only after the allocation (see `ModelSet.take_up_at`).

    Args:
        connection: Where `eligibility` has loaded leads, with their `pd`, and products.
        pairs: SQL table with `lead_row` and `product_row`.
    """
    described = f"""
        select
            leads.* exclude (
                exclusion_stage, exclusion_detail, canonical_channel_id, canonical_lead_id,
                channels, consent_scope, suppressed_institutions
            ),
            products.* exclude (
                segment, currency, name, status, valid_from, valid_to, admitted_from,
                admitted_to, delivery, format, fields, public_key, is_open, closed_reason
            ),
            channel_costs.cost_per_lead,
            1 as rank
        from ({pairs}) as pairs
        join leads using (lead_row)
        join products using (product_row)
        left join channel_costs using (channel_id)
    """
    return connection.sql(
        f"""
        select * exclude (safest, riskiest, apr_ceiling, place_in_band)
        from ({priced_sql(f"({described})")})
        order by lead_row, product_row
        """
    ).to_arrow_table()


def valued_pairs(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    pairs: pa.Table,
    widths: Mapping[str, Widths] = NOTHING_LEARNED,
) -> pa.Table:
    """Return `lead_row`, `product_row` and `SCHEMA` of some pairs, scored and valued, by key.

    Args:
        connection: Where leads and products are loaded.
        model_set: Who says how likely what is.
        pairs: `lead_row` and `product_row`; few enough for memory.
        widths: As `scored_pairs` takes it.
    """
    sure = {column: widths.get(model, Widths.assumed()) for model, column in OUTPUTS.items()}
    connection.register("portion", pairs)
    read = features(connection, "select lead_row, product_row from portion")
    connection.register("scored", with_intervals(model_set.score(read), sure))
    found = connection.sql(
        f"""
        select lead_row, product_row, {", ".join(SCHEMA.names)}
        from ({valued_sql("scored", policy.value())})
        order by lead_row, product_row
        """
    ).to_arrow_table()
    connection.unregister("scored")
    connection.unregister("portion")
    return found
