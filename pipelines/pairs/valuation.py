"""Value of a pair: its surplus, to the person and to the institution.

    value = person_weight x benefit + institution_weight x (margin - fee) + platform_weight x fee

With equal weights the fee cancels: it moves surplus from the institution to the platform and makes
none. Each part is an expectation in the base currency and is stored beside the value
(`sql/value_pairs.sql`):

    fee       price, by the product's price model (column `revenue`)
    benefit   P(funded) x (reference_apr - suggested_apr - fee_rate) x amount x years / 2 x fit
              - P(not approved) x declined_cost
    margin    P(funded) x amount x ((suggested_apr - funding_cost) x years / 2 - pd x loss)
              - application_cost

A loan that is repaid in equal parts owes half of its amount on average, hence years / 2. `fee_rate`
is what the loan costs in any case besides its interest, a year and as a share of what is owed
(`eligibility/sql/products.sql`): a low rate beside high fees saves the person nothing. The fit is 1
where the product lends up to twice the requested amount and runs up to twice the requested term,
and falls as the request nears the product's limits. A lead that names no term fits any product.

`pairs.parquet` stores what the models predict of a pair and the price suggested for it. Its value
is arithmetic, so it is recomputed whenever pairs are read: other weights need no new scoring. With
the weights of the scoring run, the values are the same to the last bit.
"""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expectations import policy
from expectations.policy_types import Value
from pipelines.core.database import find_spill_folder, read_query
from pipelines.core.publishing import open_parquet
from pipelines.pairs.eligibility.load_inputs import MAX_PAIR_VALUE
from pipelines.pairs.prefilter_loss import SAMPLE_FILE

SQL = Path(__file__).parent / "sql"

PAIR_SCHEMA = pa.schema(
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
for new products and rare leads (`models.scoring.uncertainty`). `amount` and `expected_spend` are in
`currency`, the money after them in the base currency. Pairs below the minimum value are included,
since other weights may raise them above it."""

PAIR_KEY = "channel_id, lead_id, institution_id, product_id"
"""Key of a pair, by which `pairs.parquet` is sorted."""
PORTION = 1_000_000
"""Published pairs that are valued and sorted together: bounds the memory, never changes a value."""

PRODUCT_TERMS = (
    "price_model",
    "price",
    "amount_max",
    "term_max_months",
    "reference_apr",
    "exchange_rate",
    "fee_share",
    "monthly_fee_share",
    "fee_money",
    "monthly_fee_money",
)
"""Columns of a product that its pairs' value depends on."""

VALUE_COLUMNS = (
    "expected_spend",
    "revenue",
    "person_fit",
    "person_benefit",
    "institution_margin",
    "expected_value",
    "expected_cost",
)
"""Columns of `pairs.parquet` that are recomputed when it is read."""


def suggest_apr_sql(scored: str) -> str:
    """Return a query that adds `suggested_apr` to the rows of `scored`, a table or a subquery.

    Reads `pd` of the lead and `apr_min`, `apr_max`, `price_cap`, `pd_min`, `pd_max` of the product.
    """
    return _bind_query(SQL / "suggest_apr.sql", {"scored_pairs": scored}, {})


def value_sql(priced: str, weights: Value | None = None) -> str:
    """Return a query that adds the value of each row of `priced`, a table or a subquery.

    Reads `PRODUCT_TERMS` (`reference_apr` is the price cap, or the highest price offered;
    `exchange_rate` leads to the base currency), `amount`, `term_months`, `pd`, `p_approve`,
    `p_fund`, `suggested_apr` and `cost_per_lead` (in the base currency). Adds `VALUE_COLUMNS`:
    `expected_spend` of the institution in the product's currency, `person_fit` up to 1, and money
    in the base currency.

    Args:
        priced: Pairs with probabilities and a suggested price.
        weights: Value policy; the current one by default.
    """
    parameters = (weights or policy.value()).model_dump(
        include={
            "person_weight",
            "institution_weight",
            "platform_weight",
            "declined_cost",
            "application_cost",
            "funding_cost",
            "loss_given_default",
            "amount_room_weight",
            "term_room_weight",
        }
    )
    return _bind_query(SQL / "value_pairs.sql", {"priced_pairs": priced}, parameters)


def recompute_value_sql(path: Path, day: date, weights: Value | None = None) -> str:
    """Return a query of the scored pairs in `path`, valued by `weights` or the current policy.

    It needs the tables `products` and `leads`, and adds `least_odds`, the least odds of approval
    that the guarantees of `day` require for the lead.
    """
    file = f"'{_quote(path)}', file_row_number = true, hive_partitioning = false"
    return _revalue_sql(f"read_parquet({file})", day, weights)


def _revalue_sql(scored: str, day: date, weights: Value | None) -> str:
    stored = f"""(
        select
            scored.* exclude ({", ".join(VALUE_COLUMNS)}),
            expected_cost as cost_per_lead,
            {least_odds_sql(day)} as least_odds,
            {", ".join(f"products.{name}" for name in PRODUCT_TERMS)}
        from {scored} as scored
        join products using (institution_id, product_id)
        join leads using (channel_id, lead_id)
    )"""
    return value_sql(stored, weights)


def least_odds_sql(day: date) -> str:
    """Return the SQL expression of the least odds of approval for a row of `leads`."""
    by_jurisdiction = {name: entry.of_match for name, entry in policy.least_odds(day).items()}
    default = by_jurisdiction.pop("default")
    cases = "".join(f" when '{name}' then {odds!r}" for name, odds in by_jurisdiction.items())
    country = "upper(split_part(coalesce(leads.region, ''), '-', 1))"
    return f"case {country}{cases} else {default!r} end" if cases else repr(default)


def likely_enough_sql() -> str:
    """Return the SQL condition that an approval of the pair is likely enough to make an offer."""
    return "p_approve >= least_odds"


def worthwhile_sql(weights: Value | None = None) -> str:
    """Return the SQL condition that a pair may become a match: likely enough, and of value.

    A value that is no finite number, or above `MAX_PAIR_VALUE`, is impossible.
    """
    least = (weights or policy.value()).minimum_value
    return (
        f"{likely_enough_sql()} and expected_value >= {least} and expected_value > 0 "
        f"and expected_value <= {MAX_PAIR_VALUE!r}"
    )


def impossible_value_sql() -> str:
    """Return the SQL condition that the value of a pair is impossible."""
    return f"not coalesce(abs(expected_value) <= {MAX_PAIR_VALUE!r}, false)"


def count_pairs_sql(valued: str, weights: Value | None = None) -> str:
    """Return a query of each lead's pairs in `valued` that pass the last steps of the funnel."""
    return f"""
        select
            channel_id,
            lead_id,
            count(*) filter (where {likely_enough_sql()}) as low_odds,
            count(*) filter (where {worthwhile_sql(weights)}) as low_value
        from ({valued})
        group by channel_id, lead_id
    """


def load_pairs(
    connection: duckdb.DuckDBPyConnection, folder: Path, day: date, weights: Value | None = None
) -> None:
    """Create `scored_pairs` (every pair, valued), `drawn_pairs` (an unbiased sample of them, where
    the day was prefiltered), `pairs` (the ones that may become matches, numbered by key as `row`)
    and `funnel`.

    Args:
        connection: With the tables `leads` and `products`.
        folder: The published `pairs/date=D`.
        day: The business date.
        weights: Value policy; the current one by default.
    """
    valued = recompute_value_sql(folder / "pairs.parquet", day, weights)
    connection.execute(f"create or replace view scored_pairs as {valued}")
    _create_drawn_pairs(connection, folder / SAMPLE_FILE)
    _create_pairs_by_portion(connection, folder / "pairs.parquet", day, weights)
    connection.execute(
        f"""
        create or replace view funnel as
        select
            funnel.* exclude (low_odds, low_value),
            coalesce(pair_counts.low_odds, 0) as low_odds,
            coalesce(pair_counts.low_value, 0) as low_value
        from read_parquet('{_quote(folder / "funnel.parquet")}', hive_partitioning = false)
            as funnel
        left join ({count_pairs_sql("from scored_pairs", weights)}) as pair_counts
            using (channel_id, lead_id)
        """
    )


def create_pairs_of_scores(connection: duckdb.DuckDBPyConnection, scores: str, day: date) -> None:
    """Create the tables of `load_pairs` but `funnel`, of scores that aren't published.

    Args:
        connection: With the table `leads`.
        scores: A table with the columns `PAIR_SCHEMA`.
        day: The business date.
    """
    connection.execute(
        f"""
        create or replace table scored_pairs as
        select scores.*, {least_odds_sql(day)} as least_odds
        from {scores} as scores
        join leads using (channel_id, lead_id)
        """
    )
    connection.execute("create or replace view drawn_pairs as from scored_pairs")
    _create_pairs(connection, None)


def _create_drawn_pairs(connection: duckdb.DuckDBPyConnection, sample: Path) -> None:
    """Create `drawn_pairs`: all scored pairs, or of a prefiltered day the sample.

    A product without a pair in the sample is represented by its scored pairs: the prefilter keeps
    the better ones, so what they set is stricter, and no product is without a guarantee.
    """
    query = "from scored_pairs"
    if sample.exists():
        columns = "institution_id, product_id, p_approve, p_fund, revenue"
        query = f"""
            with sample as (select {columns} from read_parquet('{_quote(sample)}'))
            from sample
            union all
            select {columns} from scored_pairs anti join sample using (institution_id, product_id)
        """
    connection.execute(f"create or replace view drawn_pairs as {query}")


def _create_pairs_by_portion(
    connection: duckdb.DuckDBPyConnection, scored: Path, day: date, weights: Value | None
) -> None:
    """Create view `pairs` of the published pairs, in a file beside what the connection spills.

    They are by key already, so they are valued and sorted in portions: memory does not grow with
    the pairs of a day.
    """
    file = find_spill_folder(connection) / "pairs.parquet"
    numbered = 0
    with pq.ParquetWriter(file, PAIR_SCHEMA.append(pa.field("row", pa.int64()))) as writer:
        for portion in open_parquet(scored).iter_batches(PORTION):
            connection.register("portion", pa.table(portion))
            pairs = connection.sql(
                f"""
                select {", ".join(PAIR_SCHEMA.names)}
                from ({_revalue_sql("portion", day, weights)})
                where {worthwhile_sql(weights)}
                order by {PAIR_KEY}
                """
            ).to_arrow_table()
            connection.unregister("portion")
            row = np.arange(numbered, numbered + pairs.num_rows)
            writer.write_table(pairs.append_column("row", pa.array(row)).cast(writer.schema))
            numbered += pairs.num_rows
    pa.default_memory_pool().release_unused()
    connection.execute(f"create or replace view pairs as from read_parquet('{_quote(file)}')")


def _create_pairs(connection: duckdb.DuckDBPyConnection, weights: Value | None) -> None:
    connection.execute(
        f"""
        create or replace table pairs as
        select
            {", ".join(PAIR_SCHEMA.names)},
            row_number() over (order by {PAIR_KEY}) - 1 as row
        from scored_pairs
        where {worthwhile_sql(weights)}
        order by {PAIR_KEY}
        """
    )


def _bind_query(file: Path, tables: Mapping[str, str], parameters: Mapping[str, float]) -> str:
    """Return the query of `file` with its tables and parameters replaced, for use as a subquery.

    Args:
        file: A SQL file with `$name` parameters.
        tables: Table of the file -> the table or subquery to read in its place.
        parameters: Parameter -> value.
    """
    query = re.sub(r"\$(\w+)", lambda match: repr(parameters[match[1]]), read_query(file))
    inputs = ", ".join(
        f"{name} as not materialized (select * from {table})" for name, table in tables.items()
    )
    return f"with {inputs} select * from (\n{query}\n)"


def _quote(path: Path) -> str:
    return str(path).replace("'", "''")
