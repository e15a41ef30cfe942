"""The id of a match."""

from pathlib import Path

import duckdb

from pipelines.core.database import run_query
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"
"""The queries of this package."""


def create_match_id_macro(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create the SQL function `make_match_id`, with the key of the home.

    Its arguments are the day (ISO 8601) and the four keys of a pair; nothing else decides the id.
    Without the key nobody can find the lead of an id by trying.
    """
    create_keyed_hash_macro(connection, load_identifier_key(settings))
    run_query(connection, SQL / "match_id.sql")
