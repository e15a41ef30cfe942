"""The counts of a partition, by source, and the proof that no row was lost."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from expectations.contracts import Contract
from pipelines.core.errors import IntegrityError
from pipelines.ingest.ledger import Entry

NAMES = (
    "files",
    "copies",
    "late_files",
    "refused_files",
    "received",
    "loaded",
    "quarantined",
    "duplicates",
    "emptied_values",
)

Counts = dict[str, dict[str, int]]
"""By source, then by the names above."""


def counts_of(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    entries: Iterable[Entry],
    read: Iterable[Mapping[str, Mapping[str, Any]]],
    lake: Path,
    quarantine: Path,
) -> Counts:
    """Count a partition from what was read and from the very files that are published.

    Args:
        entries: The ledger's entries of the feed and day.
        read: Of each shard, by source, what it read: `files`, `refused_files`, `received`.
        lake: The partition's rows, as Parquet.
        quarantine: The partition's records, as Parquet.
    """
    counts: Counts = {}

    def add(source: str, name: str, number: int) -> None:
        counts.setdefault(source, dict.fromkeys(NAMES, 0))[name] += number

    for entry in entries:
        add(entry.source, "copies", entry.state == "copy")
        add(entry.source, "late_files", entry.state == "taken" and entry.is_late)
    for sources in read:
        for source, facts in sources.items():
            for name in ("files", "refused_files", "received"):
                add(source, name, facts[name])
    rows = f"select {contract.source_column}, count(*) from read_parquet($1) group by all"
    for source, number in connection.execute(rows, [str(lake)]).fetchall():
        add(source, "loaded", number)
    set_aside = """
        select
            source,
            coalesce(sum(rows) filter (severity = 'critical'), 0),
            coalesce(sum(rows) filter (severity = 'info'), 0),
            count(*) filter (severity = 'warning')
        from read_parquet($1) group by all
    """
    for source, *numbers in connection.execute(set_aside, [str(quarantine)]).fetchall():
        for name, number in zip(NAMES[-3:], numbers, strict=True):
            add(source, name, int(number))
    return dict(sorted(counts.items()))


def prove(feed: str, day: str, counts: Counts) -> None:
    """Raise `IntegrityError` unless every received row of every source is in exactly one place."""
    for source, c in counts.items():
        if c["received"] != c["loaded"] + c["quarantined"] + c["duplicates"]:
            raise IntegrityError(
                f"{feed} of {source} on {day}: {c['received']:,} rows were received, but "
                f"{c['loaded']:,} loaded, {c['quarantined']:,} quarantined and "
                f"{c['duplicates']:,} duplicates make "
                f"{c['loaded'] + c['quarantined'] + c['duplicates']:,}. Nothing of this partition "
                "was published. This is a fault of the program: report it with the landed files."
            )


def totals(counts: Counts) -> dict[str, int]:
    """Return the counts of all sources together."""
    return {name: sum(source[name] for source in counts.values()) for name in NAMES}
