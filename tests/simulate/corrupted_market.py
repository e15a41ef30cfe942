"""What a market's answer key says, and what ingest made of its files."""

from collections import Counter
from typing import Any

import duckdb

from pipelines.core.settings import Settings

PLACE = 'file, line, "column", rule, severity'


def answer_key(settings: Settings) -> list[dict[str, Any]]:
    """Return every answer of a simulated home."""
    return _rows(f"select * from read_parquet('{settings.truth}/dirt/*.parquet')")


def assert_exactly_the_key_is_set_aside(settings: Settings) -> None:
    """Compare quarantine with the answer key, both ways, by file, line, column, rule, severity."""
    key = f"read_parquet('{settings.truth}/dirt/*.parquet')"
    records = f"read_parquet('{settings.quarantine}/*/date=*/*.parquet', hive_partitioning = false)"
    expected = _counted(f"select {PLACE} from {key} where severity <> 'none'")
    found = _counted(f"select {PLACE} from {records}")
    assert expected, "nothing is dirty: the comparison would pass without looking at a row"
    assert sorted(map(str, expected - found)) == []
    assert sorted(map(str, found - expected)) == []


def _counted(sql: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in _rows(sql))


def _rows(sql: str) -> list[dict[str, Any]]:
    return duckdb.sql(sql).to_arrow_table().to_pylist()
