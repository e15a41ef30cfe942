"""The events of the ledger: append-only files by the date of the delivery, and the current state.

A file holds one batch. It is written beside and renamed, so a killed run leaves none or all of a
batch; what is recorded already is never recorded again. A match is in the state of its last event
that counts, in the order of batches and stages.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.core.database import connect, query_table, run_query
from pipelines.core.publishing import sync, write_parquet
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"

FOLDER = "deliveries"
"""Folder below the home's `ledger/`."""

STAGES = ("planned", "held", "sent", "expired", "received", "refused", "retracted", "returned")
"""Every event, and so every state. Within one batch a later one of them comes after."""

EVENTS = pa.schema(
    [
        *((name, pa.string()) for name in ("match_id", "institution_id", "delivery_id")),
        ("version", pa.int32()),
        ("event", pa.string()),
        ("known_on", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("source", pa.string()),
        ("detail", pa.string()),
        ("counts", pa.bool_()),
        ("batch", pa.int32()),
    ]
)
"""Columns of a file of events. `version` is 0 before anything was sent; `counts` is false of an
event that changes no state, such as the receipt of a version that was replaced since."""

FILE = re.compile(r"^\d{6}-[0-9a-f]{16}\.parquet$")


def ledger_folder(settings: Settings, day: date) -> Path:
    """Return the folder with the events of the deliveries of `day`."""
    return settings.day_folder(settings.ledger / FOLDER, day)


def load_events(settings: Settings, day: date) -> pa.Table:
    """Return every recorded event of the deliveries of `day`, in the order of batches."""
    files = [path for path in sorted(ledger_folder(settings, day).glob("*")) if _is_batch(path)]
    tables = [pq.read_table(path, partitioning=None).cast(EVENTS) for path in files]
    return pa.concat_tables([EVENTS.empty_table(), *tables])


def register_ledger(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> pa.Table:
    """Create the views `events` and `states` of the deliveries of `day`; return the events."""
    events = load_events(settings, day)
    connection.register("events", events)
    run_query(connection, SQL / "states.sql")
    return events


def load_states(settings: Settings, day: date) -> pa.Table:
    """Return the state of each match of `day`: one row a match."""
    with connect(settings) as connection:
        register_ledger(connection, settings, day)
        return connection.sql("from states order by match_id").to_arrow_table()


def count_states(settings: Settings, day: date) -> dict[str, dict[str, int]]:
    """Return institution -> state -> number of matches of the deliveries of `day`."""
    with connect(settings) as connection:
        register_ledger(connection, settings, day)
        rows = connection.execute(
            "select institution_id, state, count(*) from states group by all order by all"
        ).fetchall()
    counts: dict[str, dict[str, int]] = {}
    for institution, state, number in rows:
        counts.setdefault(institution, {})[state] = number
    return counts


def create_states_as_of(
    connection: duckdb.DuckDBPyConnection, settings: Settings, days: Iterable[date], as_of: date
) -> None:
    """Create the views `events` and `states` of the deliveries of `days`, as known on `as_of`."""
    files = [
        str(path)
        for day in sorted(days)
        for path in sorted(ledger_folder(settings, day).glob("*"))
        if _is_batch(path)
    ]
    if files:
        recorded = connection.read_parquet(files, hive_partitioning=False)
    else:
        recorded = connection.from_arrow(EVENTS.empty_table())
    recorded.filter(f"known_on <= date '{as_of}'").create_view("events", replace=True)
    run_query(connection, SQL / "states.sql")


def list_days(settings: Settings) -> list[date]:
    """Return the dates with a ledger, oldest first."""
    folders = (settings.ledger / FOLDER).glob("date=*")
    return sorted(date.fromisoformat(path.name.removeprefix("date=")) for path in folders)


def append_events(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    delivered_on: date,
    query: str,
    candidates: pa.Table | None = None,
    **parameters: Any,
) -> int:
    """Append the events that a query finds new among `candidates`; return their number.

    Args:
        connection: A connection; its views `events`, `states` and `candidates` are replaced.
        settings: Where the ledger is.
        delivered_on: The date of the deliveries.
        query: Name of the SQL file that selects the new events.
        candidates: The facts, with the columns of the query, if it reads some.
        parameters: The parameters of the query.
    """
    recorded = register_ledger(connection, settings, delivered_on)
    if candidates is not None:
        connection.register("candidates", candidates)
    fresh = query_table(connection, SQL / f"{query}.sql", parameters)
    if not fresh.num_rows:
        return 0
    number = (pc.max(recorded["batch"]).as_py() or 0) + 1
    column = pa.repeat(pa.scalar(number, pa.int32()), fresh.num_rows)
    batch = fresh.append_column("batch", column).cast(EVENTS)
    _write_batch(ledger_folder(settings, delivered_on), number, batch)
    return int(fresh.num_rows)


def _write_batch(folder: Path, number: int, events: pa.Table) -> None:
    fresh = folder / f".{number:06d}.new"
    write_parquet(events, fresh)
    sync(fresh)
    fresh.rename(folder / name_batch(number, fresh))
    sync(folder)


def name_batch(number: int, file: Path) -> str:
    """Return the name of a batch with the content of `file`: it has the hash of the content."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return f"{number:06d}-{digest}.parquet"


def _is_batch(path: Path) -> bool:
    return FILE.match(path.name) is not None
