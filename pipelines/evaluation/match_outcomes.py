"""The last known outcome of each match."""

from pathlib import Path

import duckdb

from pipelines.core.database import run_query


def create_match_outcomes_view(connection: duckdb.DuckDBPyConnection) -> None:
    """Create view `match_outcomes`: one row per match; `lent` in the base currency, or 0.

    Of contradictory outcomes the one recorded last counts. A funded loan without amount or rate
    counts with the amount requested and the rate suggested. A match without a known decision
    counts as not approved.

    Args:
        connection: With the tables `matches`, `leads`, `products` (with `exchange_rate`),
            `exchange_rates`, and `outcomes` that count, see `create_counted_outcomes_view`.
    """
    run_query(connection, Path(__file__).parent / "sql" / "match_outcomes.sql")
