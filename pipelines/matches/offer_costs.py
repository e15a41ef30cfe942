"""Offers, and what each costs: instalments, fees with who takes them, the whole cost in all.

The loan is the one that the person asked for, at the suggested rate; where a lead names no term it
is the longest one of the product, and where it names no amount the assumed one.
"""

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.outbound_contracts import load_outbound
from pipelines.core.database import query_table, run_query
from pipelines.matches.match_id import SQL
from pipelines.pairs.financing_cost import Loans, compute_costs

TERMS = ("match_id", "amount", "months", "repayment", "is_compound")


def build_offers(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the offers of the day, by lead and rank, as their outbound contract describes them.

    Args:
        connection: With `explained`, `products`, `mart_product_fees`, `product_names`, `leads`,
            `match_reasons` and `odds_shown`.
    """
    _create_costs(connection)
    version = {"schema_version": load_outbound("offer").schema_version}
    return query_table(connection, SQL / "offers.sql", version)


def _create_costs(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `offer_costs` and `offer_fees`, by match id."""
    loans = query_table(connection, SQL / "offered_loans.sql")
    costs = {
        name: pa.array(values)
        for name, values in vars(compute_costs(Loans.of_table(loans))).items()
    }
    table = pa.table({name: loans[name] for name in TERMS} | costs)
    names = policy.financing_costs().names
    words = {
        "fee": pa.array(list(names), pa.string()),
        "name_en": pa.array([text.en for text in names.values()], pa.string()),
        "name_zh": pa.array([text.zh for text in names.values()], pa.string()),
    }
    connection.register("offer_costs", table)
    connection.register("fee_names", pa.table(words))
    run_query(connection, SQL / "offer_fees.sql")
