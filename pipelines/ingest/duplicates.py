"""Rows that add nothing: copies of a key, and catalogues older than one already known.

Of rows that share a key the first is loaded: by the day it became known, then by the contract's
`duplicates`, then by all columns. The order of rows in a file, and of files, has no effect.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations.contracts import Contract

DROPPED = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("message", pa.string())])


def find_dropped_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    rows: Path,
    rejected_files: Sequence[int],
    history: Sequence[Path],
) -> pa.Table:
    """Return the rows of a shard that are not loaded, and why (`DROPPED`, by `row`).

    Args:
        connection: Runs the queries.
        contract: The feed's key and rules for duplicates.
        rows: Parquet of the rows that passed the gate.
        rejected_files: Rejected files (by `task`); their rows are dropped without a message.
        history: Lake files of the feed in partitions that this run does not build.
    """
    tasks = pa.table({"task": pa.array(rejected_files, pa.int32())})
    connection.register("rejected", tasks)
    connection.execute(
        f"create or replace temp view arrived as from {_parquet(rows)} "
        "where task not in (select task from rejected)"
    )
    connection.execute("create or replace temp table dropped (row bigint, rule text, message text)")
    connection.execute(
        f"insert into dropped select row, 'rejected', '' from {_parquet(rows)} "
        "where task in (select task from rejected)"
    )
    if contract.full_catalogue:
        connection.execute(_drop_superseded_sql(contract, history))
    if contract.unique_within == "history" and history:
        connection.execute(_drop_known_sql(contract, history))
    connection.execute(_drop_copies_sql(contract))
    dropped = connection.sql("from dropped order by row").to_arrow_table().cast(DROPPED)
    connection.unregister("rejected")
    return dropped


def _drop_superseded_sql(contract: Contract, history: Sequence[Path]) -> str:
    """Return SQL that drops a catalogue if one of a later date was known by then."""
    source = contract.source_column
    known = f"select {source}, known_on, landed_on from arrived"
    if history:
        known += f" union all select {source}, known_on, landed_on from ({_history_sql(history)})"
    return f"""
        insert into dropped
        select
            arrived.row, 'superseded',
            'a catalogue of a later date was already known; this one came too late to count'
        from arrived
        where exists (
            select 1 from ({known}) as other
            where other.{source} = arrived.{source}
                and other.known_on <= arrived.known_on
                and other.landed_on > arrived.landed_on
        )
    """


def _drop_known_sql(contract: Contract, history: Sequence[Path]) -> str:
    """Return SQL that drops a row whose key is in an earlier partition of the lake."""
    return f"""
        insert into dropped
        select row, 'duplicate', '{_known_message(contract)}'
        from arrived
        where exists (
            select 1 from ({_history_sql(history)}) as earlier
            where {_equal_sql(contract.key, "earlier", "arrived")}
                and earlier.known_on < arrived.known_on
        )
    """


def _drop_copies_sql(contract: Contract) -> str:
    """Return SQL that drops all rows of a key but the first; it sorts only repeated keys."""
    key = [*contract.key, *(["known_on"] if contract.unique_within == "day" else [])]
    columns = [name for name in contract.names if name not in contract.duplicates]
    order = ["known_on", *contract.duplicates, *columns, "extras", "landed_on", "file", "line"]
    order_by = ", ".join(f"{name} nulls last" for name in order)
    by = f" by {', '.join(contract.duplicates)}" if contract.duplicates else ""
    names = ", ".join(contract.key)
    message = f"another row with the same {names} is the first{by} and was loaded"
    return f"""
        insert into dropped
        with remaining as (from arrived anti join dropped using (row)),
        repeated as (select {", ".join(key)} from remaining group by all having count(*) > 1),
        ranked as (
            select
                row,
                known_on,
                min(known_on) over (partition by {", ".join(key)}) as first_known_on,
                row_number() over (partition by {", ".join(key)} order by {order_by}) as rank
            from remaining
            where exists (select 1 from repeated where {_equal_sql(key, "repeated", "remaining")})
        )
        select
            row,
            'duplicate',
            case
                when known_on > first_known_on then '{_known_message(contract)}'
                else '{message}'
            end
        from ranked where rank > 1
    """


def _known_message(contract: Contract) -> str:
    return f"a row with the same {', '.join(contract.key)} was loaded on an earlier day"


def _history_sql(files: Sequence[Path]) -> str:
    """Return SQL of the rows of lake partitions, with the day on which each became known."""
    paths = ", ".join(f"'{_escape(path)}'" for path in files)
    day = "cast(regexp_extract(filename, 'date=([0-9-]+)/[^/]*$', 1) as date)"
    return (
        f"select *, {day} as known_on from read_parquet([{paths}], filename = true, "
        "hive_partitioning = false, union_by_name = true)"
    )


def _equal_sql(names: Sequence[str], one: str, other: str) -> str:
    return " and ".join(f"{one}.{name} is not distinct from {other}.{name}" for name in names)


def _parquet(path: Path) -> str:
    # Otherwise a folder named date=D above the file would replace a feed's own column `date`.
    return f"read_parquet('{_escape(path)}', hive_partitioning = false)"


def _escape(path: Path) -> str:
    return str(path).replace("'", "''")
