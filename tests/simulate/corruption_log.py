"""The corruption log of a simulated home, compared with what ingest quarantined."""

from collections import Counter
from typing import Any

import duckdb

from pipelines.core.settings import Settings

KEY = 'file, line, "column", rule, severity'


def read_corruption_log(settings: Settings) -> list[dict[str, Any]]:
    """Return every row of the corruption log."""
    return _read(f"select * from read_parquet('{settings.truth}/corruption/*.parquet')")


def assert_quarantine_matches_log(settings: Settings) -> None:
    """Compare quarantine with the log, both ways, by file, line, column, rule and severity."""
    log = f"read_parquet('{settings.truth}/corruption/*.parquet')"
    records = f"read_parquet('{settings.quarantine}/*/date=*/*.parquet', hive_partitioning = false)"
    expected = _count(f"select {KEY} from {log} where severity <> 'none'")
    quarantined = _count(f"select {KEY} from {records}")
    assert expected, "nothing is corrupted: the comparison would pass without reading a row"
    not_found = sorted(map(str, expected - quarantined))
    not_logged = sorted(map(str, quarantined - expected))
    assert not not_found + not_logged, f"not found: {not_found}; not logged: {not_logged}"


def _count(sql: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in _read(sql))


def _read(sql: str) -> list[dict[str, Any]]:
    return duckdb.sql(sql).to_arrow_table().to_pylist()
