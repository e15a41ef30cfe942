"""Rows that say nothing new: copies of a key, and catalogues older than one already known.

Of rows that share a key one stands: the first by the day it became known, then by the contract's
`duplicates`, then by all columns. The order of rows in a file and of files never counts.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations.contracts import Contract

DROPPED = pa.schema([("row", pa.int64()), ("rule", pa.string()), ("message", pa.string())])


def dropped_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    rows: Path,
    refused: Sequence[int],
    history: Sequence[Path],
) -> pa.Table:
    """Return which rows of a shard are not loaded, and why (`DROPPED`, by `row`).

    Args:
        rows: Parquet of the rows that went through the gate.
        refused: Files (by `task`) that were refused; their rows go without a record.
        history: Lake files of the feed that stand: partitions that this run doesn't build.
    """
    tasks = pa.table({"task": pa.array(refused, pa.int32())})
    connection.register("refused", tasks)
    connection.execute(
        f"create or replace temp view arrived as from {_parquet(rows)} "
        "where task not in (select task from refused)"
    )
    connection.execute("create or replace temp table dropped (row bigint, rule text, message text)")
    connection.execute(
        f"insert into dropped select row, 'refused', '' from {_parquet(rows)} "
        "where task in (select task from refused)"
    )
    if contract.full_catalogue:
        connection.execute(_older_catalogues(contract, history))
    if contract.unique_within == "history" and history:
        connection.execute(_known_before(contract, history))
    connection.execute(_copies(contract))
    dropped = connection.sql("from dropped order by row").to_arrow_table().cast(DROPPED)
    connection.unregister("refused")
    return dropped


def _older_catalogues(contract: Contract, history: Sequence[Path]) -> str:
    """Drop the rows of a catalogue when one of a later date was known by then."""
    source = contract.source_column
    known = f"select {source}, known_on, landed_on from arrived"
    if history:
        known += f" union all select {source}, known_on, landed_on from ({_history(history)})"
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


def _known_before(contract: Contract, history: Sequence[Path]) -> str:
    return f"""
        insert into dropped
        select row, 'duplicate', '{_told_before(contract)}'
        from arrived
        where exists (
            select 1 from ({_history(history)}) as earlier
            where {_same(contract.key, "earlier", "arrived")}
                and earlier.known_on < arrived.known_on
        )
    """


def _copies(contract: Contract) -> str:
    """Drop all rows of a key but the first; only keys that occur twice are sorted."""
    key = [*contract.key, *(["known_on"] if contract.unique_within == "day" else [])]
    columns = [name for name in contract.names if name not in contract.duplicates]
    order = ["known_on", *contract.duplicates, *columns, "extras", "landed_on", "file", "line"]
    ranked = ", ".join(f"{name} nulls last" for name in order)
    by = f" by {_named(contract.duplicates)}" if contract.duplicates else ""
    told = f"another row with the same {_named(contract.key)} is the first{by} and was loaded"
    return f"""
        insert into dropped
        with remaining as (from arrived anti join dropped using (row)),
        repeated as (select {", ".join(key)} from remaining group by all having count(*) > 1),
        ranked as (
            select
                row,
                known_on,
                min(known_on) over (partition by {", ".join(key)}) as first_known_on,
                row_number() over (partition by {", ".join(key)} order by {ranked}) as place
            from remaining
            where exists (select 1 from repeated where {_same(key, "repeated", "remaining")})
        )
        select
            row,
            'duplicate',
            case
                when known_on > first_known_on then '{_told_before(contract)}'
                else '{told}'
            end
        from ranked where place > 1
    """


def _told_before(contract: Contract) -> str:
    return f"a row with the same {_named(contract.key)} was loaded on an earlier day"


def _history(files: Sequence[Path]) -> str:
    """Return SQL of the rows of lake partitions, with the day that each became known on."""
    paths = ", ".join(f"'{_quoted(path)}'" for path in files)
    day = "cast(regexp_extract(filename, 'date=([0-9-]+)/[^/]*$', 1) as date)"
    return (
        f"select *, {day} as known_on from read_parquet([{paths}], filename = true, "
        "hive_partitioning = false, union_by_name = true)"
    )


def _same(names: Sequence[str], one: str, other: str) -> str:
    return " and ".join(f"{one}.{name} is not distinct from {other}.{name}" for name in names)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names)


def _parquet(path: Path) -> str:
    # Without this, a folder called date=D above the file would replace a feed's own `date`.
    return f"read_parquet('{_quoted(path)}', hive_partitioning = false)"


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
