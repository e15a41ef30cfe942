"""Score pairs in batches of leads, so that memory follows the batch and not the day."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import duckdb
import numpy as np
import pyarrow as pa

from models.model_set import OUTPUTS, ModelSet
from models.scoring.uncertainty import IntervalModel, add_intervals
from pipelines.core.engine.engine import LOCAL, Engine
from pipelines.core.engine.task import Task
from pipelines.pairs.eligibility.engine import Eligibility, list_pairs
from pipelines.pairs.eligibility.load_inputs import COST_COLUMNS, MATCHED_AMOUNT
from pipelines.pairs.valuation import PAIR_SCHEMA, suggest_apr_sql, value_sql

PAIRS_PER_BATCH = 200_000
"""About how many pairs are scored together; the pairs of a lead stay together."""
LEADS_PER_BATCH = 262_144
"""Leads whose risk is predicted together."""

LEAD_COLUMNS = """
select
    leads.* exclude (
        exclusion_stage, exclusion_detail, canonical_channel_id, canonical_lead_id,
        channels, consent_scope, suppressed_institutions
    ),
    channel_costs.cost_per_lead
from leads
join rows_of_pairs using (lead_row)
left join channel_costs using (channel_id)
order by lead_row
"""
"""What models and value read of the leads of table `rows_of_pairs`."""
PRODUCT_COLUMNS = f"""
select
    products.* exclude (
        segment, currency, name, status, valid_from, valid_to, admitted_from,
        admitted_to, delivery, format, fields, public_key, is_open, closed_reason,
        {", ".join(COST_COLUMNS)}
    )
from products
join rows_of_pairs using (product_row)
order by product_row
"""
"""What they read of the products of table `rows_of_pairs`."""

ASSUMED_WIDTHS: Mapping[str, IntervalModel] = {}
"""Interval widths before any outcome is known, as `models/params.yml` assumes them."""


def score_leads(
    connection: duckdb.DuckDBPyConnection, model_set: ModelSet, engine: Engine = LOCAL
) -> None:
    """Add `pd` to table `leads`: a lead's risk is the same at every product."""
    leads = connection.sql("from leads order by lead_row").to_arrow_reader(LEADS_PER_BATCH)
    portions = (pa.Table.from_batches([batch]) for batch in leads)
    risks = list(engine.map(connection, PredictRisk(model_set), portions))
    empty = PredictRisk.RESULT.empty_table()
    connection.register("lead_risks", pa.concat_tables([empty, *risks]))
    connection.execute(
        """
        create or replace table leads as
        select leads.*, lead_risks.pd from leads join lead_risks using (lead_row) order by lead_row
        """
    )
    connection.unregister("lead_risks")


@dataclass(frozen=True)
class PredictRisk(Task):
    """Predicts the risk of a portion of the table `leads`: its result has `lead_row` and `pd`."""

    RESULT: ClassVar[pa.Schema] = pa.schema([("lead_row", pa.int64()), ("pd", pa.float64())])

    model_set: ModelSet

    def run(self, _: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        """Return the `pd` of each lead."""
        scored = self.model_set.score_leads(portion)
        return scored.select(self.RESULT.names).cast(self.RESULT)


def score_eligible_pairs(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    eligibility: Eligibility,
    widths: Mapping[str, IntervalModel],
    engine: Engine = LOCAL,
) -> Iterator[pa.RecordBatch]:
    """Yield the eligible pairs with scores and value, columns `PAIR_SCHEMA`, ordered by key.

    Args:
        connection: With `leads` and `products`.
        model_set: Models of the day.
        eligibility: Pairs that meet the hard rules.
        widths: Interval widths by model; a model without an entry gets the assumed ones.
        engine: Scores the pairs, by portions of leads.
    """
    portions = (
        eligibility.select_leads(first, last)
        for first, last in eligibility.split_leads(PAIRS_PER_BATCH)
    )
    task = ScorePairs(model_set, widths, eligibility.products)
    for scored in engine.map(connection, task, portions):
        yield from scored.to_batches()


@dataclass(frozen=True)
class ScorePairs(Task):
    """Scores and values the eligible pairs of a portion of leads: its result is `PAIR_SCHEMA`."""

    catalogue: ClassVar[tuple[str, ...]] = ("products", "channel_costs")
    lead_tables: ClassVar[tuple[str, ...]] = ("leads",)

    model_set: ModelSet
    widths: Mapping[str, IntervalModel]
    products: int
    """Number of open products."""

    def run(self, connection: duckdb.DuckDBPyConnection, portion: pa.Table) -> pa.Table:
        """Return the pairs of leads that `Eligibility.select_leads` returns, ordered by key."""
        pairs = list_pairs(portion, self.products)
        if not pairs.num_rows:
            return PAIR_SCHEMA.empty_table()
        scored = score_pairs(connection, self.model_set, pairs, self.widths)
        return scored.select(PAIR_SCHEMA.names).cast(PAIR_SCHEMA)


def score_pairs(
    connection: duckdb.DuckDBPyConnection,
    model_set: ModelSet,
    pairs: pa.Table,
    widths: Mapping[str, IntervalModel] = ASSUMED_WIDTHS,
) -> pa.Table:
    """Return `lead_row`, `product_row` and `PAIR_SCHEMA` of some pairs, ordered by key.

    Args:
        connection: With `leads` and `products`.
        model_set: Models of the day.
        pairs: `lead_row` and `product_row`; few enough for memory.
        widths: As `score_eligible_pairs` takes it.
    """
    by_output = {
        column: widths.get(model, IntervalModel.prior()) for model, column in OUTPUTS.items()
    }
    connection.register("batch", pairs)
    features = load_pair_features(connection, "select lead_row, product_row from batch")
    connection.register("scored", add_intervals(model_set.score(features), by_output))
    scored = connection.sql(
        f"""
        select lead_row, product_row, {", ".join(PAIR_SCHEMA.names)}
        from ({value_sql(f"(select * replace ({MATCHED_AMOUNT} as amount) from scored)")})
        order by lead_row, product_row
        """
    ).to_arrow_table()
    connection.unregister("scored")
    connection.unregister("batch")
    return scored


def load_pair_features(connection: duckdb.DuckDBPyConnection, pairs: str) -> pa.Table:
    """Return the columns of some pairs that models and value read, ordered by key.

    The columns of leads and of products are dictionaries, so that each lead is read and encoded
    once and not once for each of its pairs (`models.features.columns`).

    A pair is priced by the lead's pd and scored as the lead's first offer: its rank is known only
    after the allocation (`ModelSet.take_up_at`).

    Args:
        connection: With `leads` (with `pd`), `products` and `channel_costs`.
        pairs: Query with `lead_row` and `product_row`.
    """
    terms = f"""(
        select
            lead_row, product_row, leads.pd, products.apr_min, products.apr_max,
            products.price_cap, products.pd_min, products.pd_max
        from ({pairs}) as pairs
        join leads using (lead_row)
        join products using (product_row)
    )"""
    priced = connection.sql(
        f"select * from ({suggest_apr_sql(terms)}) order by lead_row, product_row"
    ).to_arrow_table()
    columns = priced.select(["lead_row", "product_row", "suggested_apr"])
    for key, query in (("lead_row", LEAD_COLUMNS), ("product_row", PRODUCT_COLUMNS)):
        rows, entry = np.unique(priced[key].to_numpy(), return_inverse=True)
        connection.register("rows_of_pairs", pa.table({key: rows}))
        values = connection.sql(query).to_arrow_table().drop_columns(key)
        connection.unregister("rows_of_pairs")
        place = pa.array(entry, pa.int32())
        for name in values.column_names:
            entries = values[name].combine_chunks()
            columns = columns.append_column(
                name, pa.DictionaryArray.from_arrays(place, entries, safe=False)
            )
    return columns.append_column("rank", pa.repeat(pa.scalar(1, pa.int32()), columns.num_rows))
