"""The id of a match."""

from pathlib import Path

import duckdb

from pipelines.core.database import run_query

SQL = Path(__file__).parent / "sql"
"""The queries of this package."""


def create_match_id_macro(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the SQL function `make_match_id`.

    Its arguments are the day (ISO 8601) and the four keys of a pair; nothing else decides the id.
    """
    run_query(connection, SQL / "match_id.sql")
