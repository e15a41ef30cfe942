"""Offers, and what each costs: instalments, fees with who takes them, the whole cost in all.

The loan is the one that the person asked for, at the suggested rate; where a lead names no term it
is the longest one of the product, and where it names no amount the assumed one.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.outbound_contracts import load_outbound
from pipelines.core.database import query_table, run_query
from pipelines.core.publishing import open_writer
from pipelines.ingest.validation.great_expectations_gate import require_outgoing
from pipelines.matches.match_id import SQL
from pipelines.matches.reason_tables import split_matches
from pipelines.pairs.financing_cost import Loans, compute_costs

TERMS = ("match_id", "amount", "months", "repayment", "is_compound")


def write_offers(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Write the offers of the day; return their number.

    Args:
        connection: As `build_offers` takes it, with all matches as `explained`.
        path: The file.

    Raises:
        IntegrityError: An offer breaks the contract.
    """
    offers = _build_by_portion(connection)
    first = next(offers)
    rows = len(first)
    with open_writer(path, first.schema) as write:
        write(first)
        for portion in offers:
            write(portion)
            rows += len(portion)
    return rows


def _build_by_portion(connection: duckdb.DuckDBPyConnection) -> Iterator[pa.Table]:
    for portion in split_matches(connection):
        run_query(connection, SQL / "offered.sql", portion)
        yield build_offers(connection)


def build_offers(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return offers, by lead and rank, as their outbound contract describes them.

    Args:
        connection: With the matches as `offered`, and `products`, `mart_product_fees`,
            `product_names`, `leads` and `odds_shown`.

    Raises:
        IntegrityError: An offer breaks the contract.
    """
    _create_costs(connection)
    contract = load_outbound("offer")
    version = {"schema_version": contract.schema_version}
    offers = query_table(connection, SQL / "offers.sql", version)
    require_outgoing(contract, offers)
    return offers


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
