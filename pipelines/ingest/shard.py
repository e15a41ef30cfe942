"""The work of one shard: read its files, validate the rows, derive columns, find duplicates.

The results are Parquet files in the shard's folder, from which `collect` publishes. Each attempt
starts with an empty folder, and `done.json` is written last.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.contracts import Contract, load
from pipelines.core.data_provenance import read_history
from pipelines.core.database import connect
from pipelines.core.identifier_key import create_keyed_hash_macro, load_identifier_key
from pipelines.core.publishing import write_behind, write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.catalogues import find_empty_catalogues
from pipelines.ingest.duplicates import find_dropped_rows
from pipelines.ingest.identity import derive_columns
from pipelines.ingest.phones import normalise_phones
from pipelines.ingest.plan import Plan, Task, read_plan, shard_folder
from pipelines.ingest.quarantine import FINDINGS, FileFindings, make_record_findings, reject_files
from pipelines.ingest.reading.reader import MAX_UNKNOWN_COLUMNS, FeedReader
from pipelines.ingest.reading.restricting_names import sort_by_meaning
from pipelines.ingest.restrictions.unreadable import UNREADABLE, describe_records, make_restrictions
from pipelines.ingest.validation.plausible_times import list_file_dates
from pipelines.ingest.validation.row_verdicts import FilesOfShard, RuleCounts, validate_batch
from pipelines.ingest.value_findings import ValueFindings

log = logging.getLogger(__name__)

NARROWED_SCOPES = """
    select
        case
            when len(list_distinct(consent_scope)) > 1
                then list_filter(consent_scope, lambda one: one <> 'all')
            else consent_scope
        end as scope
    from scopes
"""
"""Scopes of a batch in which `all` counts only where it is the one member."""


def ingest_shard(settings: Settings, day: date, shard: Mapping[str, int]) -> dict[str, int]:
    """Read and validate the files of one shard (an element of the result of `plan`).

    Returns:
        `shard`, `files`, `received` (rows) and `rejected_files`.
    """
    number = shard["shard"]
    plan = read_plan(settings, day)
    tasks = plan.shards[number]
    folder = shard_folder(settings, day, number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts = {"shard": number, "files": len(tasks), "received": 0, "rejected_files": 0}
    with connect(settings) as connection:
        for feed, of_feed in groupby(tasks, key=lambda task: task.entry.feed):
            reader = FeedReader(connection, load(feed), settings.landing, tuple(of_feed))
            counts["rejected_files"] += _ingest_feed(settings, plan, reader, folder / feed)
            counts["received"] += sum(reader.received)
    write_json(folder / "done.json", counts)
    return counts


def _ingest_feed(settings: Settings, plan: Plan, reader: FeedReader, folder: Path) -> int:
    """Write the results of one feed below `folder`; return the number of rejected files."""
    folder.mkdir()
    contract, connection = reader.contract, reader.connection
    rule_counts = RuleCounts(task.entry.known_on for task in reader.tasks)
    days = [date.fromisoformat(task.entry.known_on) for task in reader.tasks]
    files = FilesOfShard(list_file_dates(settings, days), reader.unterminated, ValueFindings())
    file_findings = FileFindings(len(reader.tasks))
    _write_rows(settings, reader, folder, rule_counts, file_findings, files)
    history = _history_files(settings, plan, contract)
    rows = folder / "rows.parquet"
    if contract.full_catalogue:
        empty = find_empty_catalogues(
            connection, contract, reader.tasks, reader.received, rows, history
        )
        reader.rejected_files = empty | reader.rejected_files
    rejected = reject_files(settings, contract, reader, file_findings)
    for message in rejected["message"].to_pylist():
        log.warning("landing/%s", message)
    write_parquet(rejected, folder / "rejected_files.parquet")
    write_parquet(_files_table(reader), folder / "files.parquet")
    found = find_dropped_rows(connection, contract, rows, sorted(reader.rejected_files), history)
    write_parquet(found.dropped, folder / "dropped.parquet")
    write_parquet(found.closing, folder / "closing.parquet")
    write_parquet(found.contradictory, folder / "contradictory.parquet")
    create_keyed_hash_macro(connection, load_identifier_key(settings))
    restrictions, orders = make_restrictions(reader, history, folder)
    write_parquet(restrictions, folder / "restrictions.parquet")
    write_parquet(orders, folder / "closing_orders.parquet")
    facts = {"sources": _count_sources(reader), "quality": rule_counts.by_day()}
    facts["findings"] = files.findings.by_day(reader.tasks)
    write_json(folder / "facts.json", facts)
    return len(reader.rejected_files)


def _write_rows(
    settings: Settings,
    reader: FeedReader,
    folder: Path,
    rule_counts: RuleCounts,
    file_findings: FileFindings,
    files: FilesOfShard,
) -> None:
    """Write the accepted rows and the findings, batch by batch."""
    contract, connection = reader.contract, reader.connection
    schema = rows_schema(contract)
    lineage = _file_lineage(settings, contract, reader.tasks)
    key = load_identifier_key(settings)
    next_row = 0
    with (
        _open_writer(folder / "rows.parquet", schema) as rows_file,
        write_behind(rows_file) as write_rows,
        _open_writer(folder / "findings.parquet", FINDINGS) as findings_file,
        _open_writer(folder / "unreadable.parquet", UNREADABLE) as unreadable_file,
    ):
        for text in reader.read_tables():
            rows, findings, unreadable = validate_batch(
                connection,
                contract,
                text,
                next_row,
                rule_counts,
                files,
            )
            del text  # a batch is most of a shard's memory, and the next one is read soon
            next_row += rows.num_rows
            findings = pa.concat_tables([findings, make_record_findings(reader.rejected)])
            unreadable_file.write_table(unreadable)
            unreadable_file.write_table(describe_records(reader))
            files.findings.add_cut_records(reader.rejected, files.unterminated)
            reader.rejected.clear()
            file_findings.add(findings)
            findings_file.write_table(findings)
            rows = _add_lineage(contract, rows, lineage)
            if contract.feed == "leads":
                rows = _normalise_phones(rows, files.findings)
                rows = _narrow_scopes(connection, rows)
            rows = derive_columns(connection, contract, rows, settings.time_zone, key)
            write_rows(rows.select(schema.names).cast(schema))
            del rows, findings


def _normalise_phones(rows: pa.Table, value_findings: ValueFindings) -> pa.Table:
    """Return `rows` with phones in E.164 where that is unambiguous; count the rewritten ones."""
    phones, is_rewritten = normalise_phones(rows["phone"], rows["channel_id"])
    value_findings.add_phones(rows["task"], rows["phone"].is_valid().to_numpy(), is_rewritten)
    return rows.set_column(rows.schema.get_field_index("phone"), "phone", phones)


def _narrow_scopes(connection: duckdb.DuckDBPyConnection, rows: pa.Table) -> pa.Table:
    """Return `rows` without `all` in a scope that names more: the narrower statement counts."""
    scopes = rows.select(["consent_scope"])
    connection.register("scopes", scopes)
    narrowed = connection.sql(NARROWED_SCOPES).to_arrow_table()["scope"]
    connection.unregister("scopes")
    position = rows.schema.get_field_index("consent_scope")
    return rows.set_column(position, scopes.schema[0], narrowed.cast(scopes.schema[0].type))


def rows_schema(contract: Contract) -> pa.Schema:
    """Return the lake's columns, then the columns that only the shards and `collect` need."""
    return pa.schema(
        [
            *contract.lake_schema,
            ("row", pa.int64()),
            ("task", pa.int32()),
            ("known_on", pa.date32()),
            ("line", pa.int64()),
            ("received", pa.string()),
        ]
    )


def _file_lineage(settings: Settings, contract: Contract, tasks: Sequence[Task]) -> pa.Table:
    """Return the lineage that the rows of each file share, one row per task."""
    entries = [task.entry for task in tasks]
    days = [date.fromisoformat(entry.known_on) for entry in entries]
    landed = [date.fromisoformat(e.landed_on) if e.landed_on else None for e in entries]
    history = read_history(settings) if contract.feed == "outcomes" else {}
    origins = [history.get((entry.source, entry.sha256)) for entry in entries]
    starts = pa.array([settings.day_start(day) for day in days], pa.timestamp("us", "UTC"))
    return pa.table(
        {
            contract.source_column: pa.array([entry.source for entry in entries], pa.string()),
            "file": [Path(entry.path).name for entry in entries],
            "landed_on": pa.array(landed, pa.date32()),
            "known_on": pa.array(days, pa.date32()),
            "is_late": [entry.is_late for entry in entries],
            "known_at": starts,
            "origin": pa.array(origins, pa.string()),
        }
    )


def _add_lineage(contract: Contract, rows: pa.Table, lineage: pa.Table) -> pa.Table:
    """Return `rows` with the lineage of their files.

    `known_at` is the source's own time of recording, if that is later.
    """
    by_row = lineage.take(rows["task"])
    for name in by_row.schema.names:
        if name not in rows.schema.names:
            rows = rows.append_column(name, by_row[name])
    if contract.recorded_at:
        index = rows.schema.get_field_index("known_at")
        recorded_at = rows[contract.recorded_at]
        is_later = pc.greater(recorded_at, rows["known_at"])
        rows = rows.set_column(
            index, "known_at", pc.if_else(is_later, recorded_at, rows["known_at"])
        )
    return rows


def _history_files(settings: Settings, plan: Plan, contract: Contract) -> list[Path]:
    """Return the lake files of the feed in partitions that this run does not build."""
    building = {f"date={day}" for feed, day in plan.partitions if feed == contract.feed}
    files = settings.lake.glob(f"{contract.feed}/date=*/{contract.feed}.parquet")
    return sorted(path for path in files if path.parent.name not in building)


def _files_table(reader: FeedReader) -> pa.Table:
    """Return the files of the feed by `task`, for the records of quarantine."""
    entries = [task.entry for task in reader.tasks]
    return pa.table(
        {
            "task": pa.array(range(len(entries)), pa.int32()),
            "source": pa.array([entry.source for entry in entries], pa.string()),
            "file": pa.array([entry.path for entry in entries], pa.string()),
            "known_on": pa.array([entry.known_on for entry in entries], pa.string()),
            "is_rejected": pa.array(
                [task in reader.rejected_files for task in range(len(entries))]
            ),
        }
    )


def _count_sources(reader: FeedReader) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by day and source: files, rejected files, rows (received, blank), unknown columns."""
    days: dict[str, dict[str, dict[str, Any]]] = {}
    for index, task in enumerate(reader.tasks):
        sources = days.setdefault(task.entry.known_on, {})
        facts = sources.setdefault(
            task.entry.source,
            {"files": 0, "received": 0, "blank": 0, "rejected_files": 0, "unknown": []},
        )
        facts["files"] += 1
        facts["received"] += reader.received[index]
        facts["blank"] += reader.blank[index]
        is_rejected = index in reader.rejected_files
        facts["rejected_files"] += is_rejected
        unknown = set() if is_rejected else reader.unknown.get(index, set())
        names = sort_by_meaning(reader.contract.feed, unknown | set(facts["unknown"]))
        facts["unknown"] = names[:MAX_UNKNOWN_COLUMNS]
    return days


@contextmanager
def _open_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Open a file that `collect` alone reads.

    Most texts differ: dictionaries and statistics are a third of the writing and save no byte.
    """
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_statistics=False,
    ) as writer:
        yield writer
