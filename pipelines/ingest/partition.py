"""What one partition of lake/ and of quarantine/ holds, as SQL over the shards' folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations.contracts import Contract
from pipelines.ingest.quarantine import NO_ROW, SCHEMA

SLICE = 262_144
"""Rows sorted together; a bigger partition is sorted by key alone and then fetched in slices, so
that memory doesn't grow with a day's rows. It decides no byte."""
BATCH = 32_768
"""Rows handed from DuckDB to a file at once."""


def lake_batches(
    connection: duckdb.DuckDBPyConnection, contract: Contract, day: str, folders: Sequence[Path]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of lake/FEED/date=`day`, by the contract's key.

    The key is unique within a partition, so it decides the order of all rows.

    Args:
        folders: The feed's folder in each shard that has one.
    """
    if not folders:
        return
    keys = ", ".join(f"{name} nulls last" for name in contract.key)
    connection.execute(
        "create or replace temp table places as "
        f"select shard, row, row_number() over (order by {keys}) - 1 as place "
        f"from ({_arrived([*contract.key, 'row'], day, folders)})"
    )
    count = connection.execute("select count(*) from places").fetchall()[0][0]
    names = contract.lake_schema.names
    for first in range(0, count, SLICE):
        sql = (
            f"select {', '.join(names)} "
            f"from ({_arrived([*names, 'row'], day, folders)}) as arrived "
            f"join places using (shard, row) "
            f"where place >= {first} and place < {first + SLICE} order by place"
        )
        yield from connection.sql(sql).to_arrow_reader(BATCH)


def quarantine_batches(
    connection: duckdb.DuckDBPyConnection, day: str, folders: Sequence[Path]
) -> Iterator[pa.RecordBatch]:
    """Yield the records of quarantine/FEED/date=`day`, in the order of all columns."""
    if folders:
        yield from connection.sql(_quarantine_sql(day, folders)).to_arrow_reader(BATCH)


def _arrived(columns: Sequence[str], day: str, folders: Sequence[Path]) -> str:
    """Return SQL of the rows that are loaded on `day`, with the number of their `shard`."""
    parts = [
        f"select {number} as shard, {', '.join(columns)} "
        f"from {_parquet(folder, 'rows')} as arrived "
        f"anti join {_parquet(folder, 'dropped')} as dropped using (row) "
        f"where known_on = date '{day}'"
        for number, folder in enumerate(folders)
    ]
    return " union all ".join(parts)


def _quarantine_sql(day: str, folders: Sequence[Path]) -> str:
    parts = [part for folder in folders for part in _set_aside(day, folder)]
    by = ", ".join(f'"{name}" nulls last' for name in SCHEMA.names)
    return f"select * from ({' union all '.join(parts)}) order by {by}"


def _set_aside(day: str, folder: Path) -> list[str]:
    """Return SQL of what a shard set aside: values and rows, duplicates, files."""
    files = f"(from {_parquet(folder, 'files')} where known_on = '{day}')"
    dropped = _parquet(folder, "dropped")
    findings = f"""
        select source, file, line, "column", rule, severity, rows, message, received
        from {_parquet(folder, "findings")} as findings
        join {files} as files using (task)
        where not is_refused
            and (row = {NO_ROW} or row not in (select row from {dropped}))
    """
    duplicates = f"""
        select
            files.source, files.file, line, null as "column", dropped.rule, 'info' as severity,
            1 as rows, dropped.message, received
        from {_parquet(folder, "rows")} as arrived
        join {dropped} as dropped using (row)
        join {files} as files using (task)
        where not is_refused
    """
    refused = f"""
        select {", ".join(f'"{name}"' for name in SCHEMA.names)}
        from {_parquet(folder, "refused")} where known_on = '{day}'
    """
    return [findings, duplicates, refused]


def _parquet(folder: Path, name: str) -> str:
    path = str(folder / f"{name}.parquet").replace("'", "''")
    # Without this, a folder called date=D above the file would replace a feed's own `date`.
    return f"read_parquet('{path}', hive_partitioning = false)"
