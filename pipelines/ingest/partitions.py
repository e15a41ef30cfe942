"""Publish the partitions of lake/ and quarantine/ from the files of the shards, then the ledger.

The ledger is written after the partitions and `closed.json` last, so a killed run is run again:
it makes the same plan and publishes the same bytes.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from expectations.contracts import Contract, feeds, load
from pipelines.core.database import connect, lower_limits
from pipelines.core.errors import InputMissing, IntegrityError
from pipelines.core.publishing import publishing, read_manifest, write_batches
from pipelines.core.settings import Settings
from pipelines.core.stored_files import read_json
from pipelines.ingest.lake_history import list_names
from pipelines.ingest.ledger import Entry, entry_as_json, read_ledger, write_ledger
from pipelines.ingest.plan import Plan, read_plan, shard_folder, work_folder
from pipelines.ingest.quarantine import NO_ROW, SCHEMA
from pipelines.ingest.restrictions.publish import publish_restrictions, write_unreadable
from pipelines.ingest.value_findings import make_findings
from pipelines.ingest.waiting import record_waiting_files

SORT_MEMORY, SORT_THREADS = "800MB", 1
"""In which rows are sorted; DuckDB sorts more of them on disk, as fast. With two threads it ran out
of any memory, up to 800 MB, that the rows exceed."""
BATCH = 32_768
"""Rows that DuckDB hands to a file at once."""

COUNTS = (
    "files",
    "copies",
    "late_files",
    "rejected_files",
    "received",
    "loaded",
    "quarantined",
    "duplicates",
    "emptied_values",
)

Counts = dict[str, dict[str, int]]
"""By source, then by the names above."""


def collect(settings: Settings, day: date) -> dict[str, Any]:
    """Publish the partitions of the run for `day`, and close `day`.

    Returns:
        `date`, `feeds` (the counts of `day` for each feed), `partitions` (the number published),
        `frozen` (the number that could not be rebuilt) and `misplaced` (files outside the folder
        of any feed).

    Raises:
        InputMissing: No run is planned for `day`, or one of its shards is not done.
        IntegrityError: The counts of a partition do not add up; it was not published.
    """
    closed = read_ledger(settings).closed_through
    if closed is not None and closed >= day and not work_folder(settings, day).exists():
        _remove_work(settings, day)
        return _summarise_day(settings, day)  # a retry of a task that had succeeded
    plan = read_plan(settings, day)
    folders = [shard_folder(settings, day, shard) for shard in range(len(plan.shards))]
    if missing := [folder.name for folder in folders if not (folder / "done.json").exists()]:
        raise InputMissing(
            f"The ingest of {day} is not complete: {len(missing)} of {len(folders)} shards are not "
            f"done ({', '.join(missing)}). Nothing was published and no day was closed. Run the "
            "failed shards again; their logs say why they stopped."
        )
    entries = _entries_by_partition(plan)
    with connect(settings) as connection:
        lower_limits(connection, memory=SORT_MEMORY, threads=SORT_THREADS)
        for feed, partitions in groupby(plan.partitions, key=lambda partition: partition[0]):
            shards = _FeedShards(folder / feed for folder in folders)
            for _, known_on in partitions:
                known = entries.get((feed, known_on), [])
                _publish_partition(settings, connection, load(feed), known_on, known, shards)
    for known_on in sorted({known_on for _, known_on in plan.partitions}):
        publish_restrictions(settings, date.fromisoformat(known_on), plan.ledger.entries)
    newest = max(day, plan.ledger.closed_through or day)
    after = replace(plan.ledger, closed_through=newest)
    write_ledger(settings, read_ledger(settings), after)
    record_waiting_files(settings, after, day)
    _remove_work(settings, day)
    return _summarise_day(settings, day) | {
        "partitions": len(plan.partitions),
        "frozen": len(plan.frozen),
    }


def _remove_work(settings: Settings, day: date) -> None:
    """Remove the intermediate files; a run that is killed meanwhile must not find half of them."""
    folder = work_folder(settings, day)
    done = folder.with_name(f".{folder.name}.done")
    if folder.exists():
        shutil.rmtree(done, ignore_errors=True)
        folder.rename(done)
    shutil.rmtree(done, ignore_errors=True)


class _FeedShards:
    """The folders of one feed in the shards."""

    def __init__(self, folders: Iterable[Path]):
        self.folders = [folder for folder in folders if folder.is_dir()]
        self._facts = [read_json(f / "facts.json") for f in self.folders]

    def sources(self, day: str) -> list[dict[str, dict[str, Any]]]:
        """Return of each shard the counts of the files that it read for `day`, by source."""
        return [facts["sources"].get(day, {}) for facts in self._facts]

    def quality(self, day: str) -> list[dict[str, Any]]:
        """Return how many values of `day` each rule evaluated and found to violate it, in all."""
        total: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for entry in (entry for facts in self._facts for entry in facts["quality"].get(day, [])):
            rule = tuple((key, value) for key, value in entry.items() if isinstance(value, str))
            counts = total.setdefault(rule, dict(rule) | {"evaluated": 0, "unexpected": 0})
            counts["evaluated"] += entry["evaluated"]
            counts["unexpected"] += entry["unexpected"]
        return list(total.values())

    def findings(self, day: str) -> list[dict[str, Any]]:
        """Return the facts of `day` that findings are made of, of all shards."""
        return [fact for facts in self._facts for fact in facts["findings"].get(day, [])]


def _entries_by_partition(plan: Plan) -> dict[tuple[str, str], list[Entry]]:
    partitions: dict[tuple[str, str], list[Entry]] = {}
    for entry in plan.ledger.entries:
        partitions.setdefault((entry.feed, entry.known_on), []).append(entry)
    return partitions


def _publish_partition(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    day: str,
    entries: list[Entry],
    shards: _FeedShards,
) -> None:
    """Publish a partition; the lake's manifest is written last and marks it as complete."""
    feed, partition = contract.feed, f"date={day}"
    sources = shards.sources(day)
    quarantine_facts: dict[str, Any] = {"counts": {}}
    lake_facts: dict[str, Any] = {
        "ledger": [entry_as_json(entry) for entry in entries],
        "quality": shards.quality(day),
        "unknown_columns": _list_unknown_columns(sources),
        "blank_rows": _count_blank_rows(sources),
        "findings": make_findings(shards.findings(day)),
    }
    with (
        publishing(settings.lake / feed / partition, lake_facts) as lake,
        publishing(settings.quarantine / feed / partition, quarantine_facts) as quarantine,
    ):
        rows, records = lake / f"{feed}.parquet", quarantine / "quarantine.parquet"
        loaded = _lake_batches(connection, contract, day, shards.folders)
        write_batches(loaded, contract.lake_schema, rows)
        write_batches(_quarantine_batches(connection, day, shards.folders), SCHEMA, records)
        if contract.on_unreadable:
            write_unreadable(connection, day, shards.folders, quarantine)
        counts = _count_rows(connection, contract, entries, sources, rows, records)
        reconcile_rows(feed, day, counts)
        lake_facts["counts"] = quarantine_facts["counts"] = counts


def _list_unknown_columns(sources: list[dict[str, dict[str, Any]]]) -> dict[str, list[str]]:
    """Return the unknown columns by source, if it sent any; a source is in one shard."""
    return {
        source: facts["unknown"]
        for by_source in sources
        for source, facts in sorted(by_source.items())
        if facts["unknown"]
    }


def _count_blank_rows(sources: list[dict[str, dict[str, Any]]]) -> dict[str, int]:
    """Return the rows without any value by source, if it sent any."""
    return {
        source: facts["blank"]
        for by_source in sources
        for source, facts in sorted(by_source.items())
        if facts["blank"]
    }


def _lake_batches(
    connection: duckdb.DuckDBPyConnection, contract: Contract, day: str, folders: Sequence[Path]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of lake/FEED/date=`day`, by the contract's key.

    The key is unique within a partition, so it determines the order of all rows.

    Args:
        connection: Sorts the rows.
        contract: The feed's columns and key.
        day: The partition's date.
        folders: The feed's folder in each shard that has one.
    """
    if not folders:
        return
    keys = ", ".join(f'"{name}" nulls last' for name in contract.key)
    names = contract.lake_schema.names
    sql = f"from ({_accepted_rows_sql(names, day, folders)}) order by {keys}"
    yield from connection.sql(sql).to_arrow_reader(BATCH)


def _quarantine_batches(
    connection: duckdb.DuckDBPyConnection, day: str, folders: Sequence[Path]
) -> Iterator[pa.RecordBatch]:
    """Yield the records of quarantine/FEED/date=`day`, in the order of all columns."""
    if not folders:
        return
    parts = [part for folder in folders for part in _quarantine_sql(day, folder)]
    by = ", ".join(f'"{name}" nulls last' for name in SCHEMA.names)
    sql = f"select * from ({' union all '.join(parts)}) order by {by}"
    yield from connection.sql(sql).to_arrow_reader(BATCH)


def _accepted_rows_sql(columns: Sequence[str], day: str, folders: Sequence[Path]) -> str:
    """Return SQL of the rows to load for `day`."""
    parts = [
        f"select {list_names(columns)} from {_parquet(folder, 'rows')} as accepted "
        f"anti join {_parquet(folder, 'dropped')} as dropped using (row) "
        f"where known_on = date '{day}'"
        for folder in folders
    ]
    return " union all ".join(parts)


def _quarantine_sql(day: str, folder: Path) -> list[str]:
    """Return SQL of a shard's quarantined rows and emptied values, duplicates, rejected files."""
    files = f"(from {_parquet(folder, 'files')} where known_on = '{day}')"
    dropped = _parquet(folder, "dropped")
    findings = f"""
        select source, file, line, "column", rule, severity, rows, message, received
        from {_parquet(folder, "findings")} as findings
        join {files} as files using (task)
        where not is_rejected
            and (row = {NO_ROW} or row not in (select row from {dropped}))
    """
    duplicates = f"""
        select
            files.source, files.file, line, null as "column", dropped.rule, dropped.severity,
            1 as rows, dropped.message, received
        from {_parquet(folder, "rows")} as accepted
        join {dropped} as dropped using (row)
        join {files} as files using (task)
        where not is_rejected
    """
    rejected_files = f"""
        select {", ".join(f'"{name}"' for name in SCHEMA.names)}
        from {_parquet(folder, "rejected_files")} where known_on = '{day}'
    """
    return [findings, duplicates, rejected_files]


def _parquet(folder: Path, name: str) -> str:
    path = str(folder / f"{name}.parquet").replace("'", "''")
    # Otherwise a folder named date=D above the file would replace a feed's own column `date`.
    return f"read_parquet('{path}', hive_partitioning = false)"


def _count_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    entries: Iterable[Entry],
    sources: Iterable[Mapping[str, Mapping[str, Any]]],
    lake: Path,
    quarantine: Path,
) -> Counts:
    """Count a partition from the files that were read and from the files to publish.

    Args:
        connection: Reads the files.
        contract: The feed's contract.
        entries: The ledger's entries of the feed and day.
        sources: Of each shard, by source: `files`, `rejected_files`, `received`.
        lake: The partition's rows, as Parquet.
        quarantine: The partition's records, as Parquet.
    """
    counts: Counts = {}

    def add(source: str, name: str, number: int) -> None:
        counts.setdefault(source, dict.fromkeys(COUNTS, 0))[name] += number

    for entry in entries:
        add(entry.source, "copies", entry.state == "copy")
        add(entry.source, "late_files", entry.state == "taken" and entry.is_late)
    for by_source in sources:
        for source, facts in by_source.items():
            for name in ("files", "rejected_files", "received"):
                add(source, name, facts[name])
    loaded = f"select {contract.source_column}, count(*) from read_parquet($1) group by all"
    for source, number in connection.execute(loaded, [str(lake)]).fetchall():
        add(source, "loaded", number)
    quarantined = """
        select
            source,
            coalesce(sum(rows) filter (severity = 'critical'), 0),
            coalesce(sum(rows) filter (severity = 'info'), 0),
            count(*) filter (severity = 'warning')
        from read_parquet($1) group by all
    """
    for source, *numbers in connection.execute(quarantined, [str(quarantine)]).fetchall():
        for name, number in zip(COUNTS[-3:], numbers, strict=True):
            add(source, name, int(number))
    return dict(sorted(counts.items()))


def reconcile_rows(feed: str, day: str, counts: Counts) -> None:
    """Raise `IntegrityError` unless received = loaded + quarantined + duplicates, by source."""
    for source, c in counts.items():
        total = c["loaded"] + c["quarantined"] + c["duplicates"]
        if c["received"] != total:
            raise IntegrityError(
                f"{feed} of {source} on {day}: {c['received']:,} rows were received, but "
                f"{c['loaded']:,} loaded, {c['quarantined']:,} quarantined and "
                f"{c['duplicates']:,} duplicates make {total:,}. Nothing of this partition "
                "was published. This is a fault of the program: report it with the landed files."
            )


def _summarise_day(settings: Settings, day: date) -> dict[str, Any]:
    counts = {
        feed: _total(read_manifest(Settings.day_folder(settings.lake / feed, day))["counts"])
        for feed in feeds()
    }
    known = read_ledger(settings).by_day.get(str(day), [])
    misplaced = sum(not entry.feed for entry in known)
    return {"date": str(day), "feeds": counts, "misplaced": misplaced}


def _total(counts: Counts) -> dict[str, int]:
    """Return the counts of all sources together."""
    return {name: sum(source[name] for source in counts.values()) for name in COUNTS}
