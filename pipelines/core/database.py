"""DuckDB connections, each tuned alike: bounded memory, a private spill folder, one time zone."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from pipelines.core.settings import Settings


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory connection that spills beside the home and leaves nothing behind.

    The spill folder is private: two processes that share one have corrupted results (reported).
    Times are shown in UTC, so that no answer depends on the machine's zone. A long `in (...)` stays
    a filter: as the hash join that DuckDB makes of it, it would return the rows of a scan in
    another order now and then (duckdb/duckdb#24398).
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    spill = Path(tempfile.mkdtemp(prefix=".spill-", dir=settings.home))
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "temp_directory": str(spill),
        "preserve_insertion_order": True,
    }
    connection = duckdb.connect(":memory:", config=config)
    try:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set disabled_optimizers = 'in_clause'")
        yield connection
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)


def run_query(
    connection: duckdb.DuckDBPyConnection, file: Path, parameters: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """Run the one statement of the SQL file `file`, with `$name` parameters; return its result.

    Queries live in `sql/` beside the module that runs them, so that they are linted and read as
    SQL. They name views and tables of `connection`; what varies is a parameter.
    """
    return connection.execute(read_query(file), parameters)


@cache
def read_query(file: Path) -> str:
    """Return the text of a SQL file."""
    return file.read_text("utf-8")
