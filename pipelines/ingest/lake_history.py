"""SQL of the rows of a shard's files, and of lake partitions that the run does not build."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def select_history(files: Sequence[Path]) -> str:
    """Return SQL of the rows of lake partitions, with the day on which each became known."""
    paths = ", ".join(f"'{_escape(path)}'" for path in files)
    day = "cast(regexp_extract(filename, 'date=([0-9-]+)/[^/]*$', 1) as date)"
    return (
        f"select *, {day} as known_on from read_parquet([{paths}], filename = true, "
        "hive_partitioning = false, union_by_name = true)"
    )


def parquet_sql(path: Path) -> str:
    """Return SQL of the rows of a Parquet file of a shard."""
    # Otherwise a folder named date=D above the file would replace a feed's own column `date`.
    return f"read_parquet('{_escape(path)}', hive_partitioning = false)"


def _escape(path: Path) -> str:
    return str(path).replace("'", "''")


def list_names(names: Iterable[str]) -> str:
    """Return names as a list of identifiers: a contract may name a column by a word of SQL."""
    return ", ".join(f'"{name}"' for name in names)
