"""What one partition of lake/ and of quarantine/ holds, as SQL over the shards' folders."""

from collections.abc import Sequence
from pathlib import Path

from expectations.contracts import Contract
from pipelines.ingest.quarantine import NO_ROW, SCHEMA


def lake_sql(contract: Contract, day: str, folders: Sequence[Path]) -> str:
    """Return SQL of the rows of lake/FEED/date=`day`, by the contract's key.

    The key is unique within a partition, so it decides the order of all rows.

    Args:
        folders: The feed's folder in each shard that has one, at least one.
    """
    names = ", ".join(contract.lake_schema.names)
    parts = [
        f"select {names} from {_parquet(folder, 'rows')} as arrived "
        f"anti join {_parquet(folder, 'dropped')} as dropped using (row) "
        f"where known_on = date '{day}'"
        for folder in folders
    ]
    by = ", ".join(f"{name} nulls last" for name in contract.key)
    return f"select * from ({' union all '.join(parts)}) order by {by}"


def quarantine_sql(day: str, folders: Sequence[Path]) -> str:
    """Return SQL of the records of quarantine/FEED/date=`day`, in the order of all columns."""
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
    return f"read_parquet('{path}')"
