"""DuckDB: connections with bounded memory and one time zone, SQL files, and views of the lake."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from expectations.contracts import load
from pipelines.core.restrictions import ORDERS_FEED
from pipelines.core.settings import Settings

DELIVERED = pa.schema(
    [
        (name, pa.string())
        for name in ("match_id", "channel_id", "lead_id", "institution_id", "product_id")
    ]
)
"""The columns of `delivered/`: the matches that an institution received."""
TABLES_IN_MEMORY = "256MB"
"""What `spill_tables` leaves in memory."""
PRIVATE = ".spill-"
"""Beginning of the names of the private folders of processes."""


@contextmanager
def connect(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory connection that spills to a private folder below the home.

    The spill folder is private, because two processes that shared one got corrupted results
    (reported to DuckDB), and it is removed at the end. The time zone is UTC, so that no result
    depends on the machine's zone. A long `in (...)` stays a filter: the hash join that DuckDB would
    make of it sometimes returns the rows of a scan in another order (duckdb/duckdb#24398). DuckDB's
    own progress bar would go to stdout, where results are, in a process that `python -c` or
    multiprocessing starts.
    """
    with (
        make_private_folder(settings) as spill,
        duckdb.connect(
            ":memory:",
            config={
                "threads": settings.threads,
                "memory_limit": settings.memory_limit,
                "temp_directory": str(spill),
                "preserve_insertion_order": True,
            },
        ) as connection,
    ):
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set disabled_optimizers = 'in_clause'")
        connection.execute("set enable_progress_bar = false")
        yield connection


def find_spill_folder(connection: duckdb.DuckDBPyConnection) -> Path:
    """Return the private folder that a connection spills to; it ends with the connection."""
    ((folder,),) = connection.sql("select current_setting('temp_directory')").fetchall()
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path


def spill_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Move the tables of a connection to its spill folder, but for `TABLES_IN_MEMORY`.

    Work outside the database, such as a solver's, then has their memory. A query reads them back.
    """
    ((limit,),) = connection.sql("select current_setting('memory_limit')").fetchall()
    with suppress(duckdb.OutOfMemoryException):  # what a result in use holds stays where it is
        connection.execute(f"set memory_limit = '{TABLES_IN_MEMORY}'")
    connection.execute(f"set memory_limit = '{limit}'")


def lower_limits(connection: duckdb.DuckDBPyConnection, *, memory: str, threads: int) -> None:
    """Let a connection use no more memory and threads than this until it ends."""
    limit = "current_setting('memory_limit')"
    ((is_less, own_threads),) = connection.execute(
        f"""
        select parse_formatted_bytes({limit}) < parse_formatted_bytes($memory),
            current_setting('threads')
        """,
        {"memory": memory},
    ).fetchall()
    connection.execute(f"set threads = {min(own_threads, threads)}")
    if not is_less:
        connection.execute(f"set memory_limit = '{memory}'")


def run_query(
    connection: duckdb.DuckDBPyConnection, file: Path, parameters: Mapping[str, Any] | None = None
) -> duckdb.DuckDBPyConnection:
    """Run the one statement of the SQL file `file`, with `$name` parameters; return its result.

    Queries live in `sql/` beside the module that runs them, so that they are linted and read as
    SQL. They name views and tables of `connection`; what varies is a parameter.
    """
    return connection.execute(read_query(file), parameters)


def query_table(
    connection: duckdb.DuckDBPyConnection, file: Path, parameters: Mapping[str, Any] | None = None
) -> pa.Table:
    """Run the SQL file `file` as `run_query` does; return its rows as an Arrow table."""
    return connection.sql(read_query(file), params=parameters).to_arrow_table()


@cache
def read_query(file: Path) -> str:
    """Return the text of a SQL file."""
    return file.read_text("utf-8")


def create_files_view(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[str], schema: pa.Schema
) -> None:
    """Create the view `name` of some Parquet files, or of none; what older ones lack is null.

    It has the files' `date` where `schema` has one.
    """
    connection.register(f"no_{name}", schema.empty_table())
    parts = [f"from no_{name}"]
    if files:
        is_dated = "date" in schema.names
        rows = connection.read_parquet([*files], hive_partitioning=is_dated, union_by_name=True)
        rows.create_view(f"{name}_there")
        parts.append(f"from {name}_there")
    connection.execute(f"create or replace view {name} as {' union all by name '.join(parts)}")


def create_known_view(
    connection: duckdb.DuckDBPyConnection, settings: Settings, feed: str, day: date
) -> None:
    """Create the view `feed`: its lake as known at the end of `day`, without later arrivals.

    It has the rows of all partitions up to `day`, and is empty if there are none. The suppressions
    have the closing orders of ingest as well, which hold from the day of their intake on.
    """
    files = _list_known_files(settings, feed, day)
    orders = _list_known_files(settings, ORDERS_FEED, day) if feed == "suppressions" else []
    if orders:
        connection.read_parquet(orders, hive_partitioning=False).create_view(ORDERS_FEED)
        connection.register("no_rows", load(feed).lake_schema.empty_table())
        paths = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        sent = f"read_parquet([{paths}], hive_partitioning = false)" if files else "no_rows"
        connection.execute(
            f"create or replace view {feed} as from {sent} union all by name select subject_type, "
            "subject, reason, institution_id, timestamptz '1970-01-01 00:00:00+00' as effective_at "
            f"from {ORDERS_FEED}"
        )
    elif files:
        connection.read_parquet(files, hive_partitioning=False).create_view(feed)
    else:
        connection.register(feed, load(feed).lake_schema.empty_table())


def _list_known_files(settings: Settings, table: str, day: date) -> list[str]:
    last = settings.day_folder(settings.lake / table, day)
    return [
        str(folder / f"{table}.parquet")
        for folder in sorted(last.parent.glob("date=*"))
        if folder <= last
    ]


@contextmanager
def make_private_folder(settings: Settings) -> Iterator[Path]:
    """Yield an empty private folder below the home, and remove it at the end.

    A process that is killed leaves its folder, with rows of persons in it. Each folder is locked by
    its process, and the next process removes the ones that nobody holds.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    for folder in settings.home.glob(f"{PRIVATE}*"):
        _remove_abandoned(folder)
    folder, descriptor = _make_locked(settings.home)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _make_locked(home: Path) -> tuple[Path, int]:
    """Make a folder and lock it; repeat it if another process took it for an abandoned one."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PRIVATE, dir=home))
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a network file system without locks: nothing is abandoned
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, descriptor
            os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    with suppress(OSError):  # it is locked, or gone by now
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
