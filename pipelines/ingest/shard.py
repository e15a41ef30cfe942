"""One shard's work: read its files, parse and judge the rows, resolve duplicates.

What it finds waits in its own folder as Parquet; `collect` puts the shards together. The folder
is made anew on each try, and `done.json` is written last.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.contracts import Contract, load
from pipelines.core.database import connect
from pipelines.core.publishing import write_json, write_parquet
from pipelines.core.settings import Settings
from pipelines.ingest.duplicates import dropped_rows
from pipelines.ingest.identity import with_derived
from pipelines.ingest.plan_file import Plan, Task, read_plan, work_folder
from pipelines.ingest.quarantine import FINDINGS, unread
from pipelines.ingest.reading.read_file import MOST_UNKNOWN, Intake
from pipelines.ingest.rejected_files import Broken, refusals
from pipelines.ingest.validation.row_verdicts import judged
from pipelines.ingest.validation.rule_counts import Tallies

log = logging.getLogger(__name__)


def shard_folder(settings: Settings, day: date, shard: int) -> Path:
    """Return where shard number `shard` of the run for `day` keeps what it found."""
    return work_folder(settings, day) / f"shard={shard}"


def run_shard(settings: Settings, day: date, shard: int) -> dict[str, int]:
    """Work on one shard of the plan, and return how many files and rows it read and refused."""
    plan = read_plan(settings, day)
    folder = shard_folder(settings, day, shard)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts = {"shard": shard, "files": len(plan.shards[shard]), "received": 0, "refused_files": 0}
    with connect(settings) as connection:
        for feed, tasks in groupby(plan.shards[shard], key=lambda task: task.entry.feed):
            contract = load(feed)
            intake = Intake(connection, contract, settings.landing, tuple(tasks))
            counts["refused_files"] += _take_in(settings, plan, intake, folder / feed)
            counts["received"] += sum(intake.received)
    write_json(folder / "done.json", counts)
    return counts


def _take_in(settings: Settings, plan: Plan, intake: Intake, folder: Path) -> int:
    """Write what became of the rows of one feed below `folder`; return the refused files."""
    folder.mkdir()
    contract, connection = intake.contract, intake.connection
    tallies = Tallies(task.entry.known_on for task in intake.tasks)
    broken = Broken(len(intake.tasks))
    _write_rows(settings, intake, folder, tallies, broken)
    refused = refusals(settings, contract, intake, broken)
    for message in refused["message"].to_pylist():
        log.warning("landing/%s", message)
    write_parquet(refused, folder / "refused.parquet")
    write_parquet(_files(intake), folder / "files.parquet")
    history = _history(settings, plan, contract)
    rows = folder / "rows.parquet"
    dropped = dropped_rows(connection, contract, rows, sorted(intake.refused), history)
    write_parquet(dropped, folder / "dropped.parquet")
    facts = {"sources": _sources(intake), "quality": tallies.by_day()}
    write_json(folder / "facts.json", facts)
    return len(intake.refused)


def _write_rows(
    settings: Settings, intake: Intake, folder: Path, tallies: Tallies, broken: Broken
) -> None:
    contract, connection = intake.contract, intake.connection
    schema = rows_schema(contract)
    origins = _origins(settings, contract, intake.tasks)
    next_row = 0
    with (
        _writing(folder / "rows.parquet", schema) as rows_file,
        _writing(folder / "findings.parquet", FINDINGS) as findings_file,
    ):
        for text in intake.texts():
            rows, findings = judged(connection, contract, text, next_row, tallies)
            del text  # a batch is most of a shard's memory, and the next one is read soon
            next_row += rows.num_rows
            findings = pa.concat_tables([findings, unread(intake.rejected)])
            intake.rejected.clear()
            broken.add(findings)
            findings_file.write_table(findings)
            rows = _placed(contract, rows, origins)
            rows = with_derived(connection, contract, rows, settings.time_zone)
            rows_file.write_table(rows.select(schema.names).cast(schema))
            del rows, findings


def rows_schema(contract: Contract) -> pa.Schema:
    """Return the lake's columns, then those that only the shards and `collect` need."""
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


def _origins(settings: Settings, contract: Contract, tasks: Sequence[Task]) -> pa.Table:
    """Return what each file says of its rows, one row per task."""
    entries = [task.entry for task in tasks]
    days = [date.fromisoformat(entry.known_on) for entry in entries]
    landed = [date.fromisoformat(e.landed_on) if e.landed_on else None for e in entries]
    starts = pa.array([settings.day_start(day) for day in days], pa.timestamp("us", "UTC"))
    return pa.table(
        {
            contract.source_column: pa.array([entry.source for entry in entries], pa.string()),
            "file": [Path(entry.path).name for entry in entries],
            "landed_on": pa.array(landed, pa.date32()),
            "known_on": pa.array(days, pa.date32()),
            "is_late": [entry.is_late for entry in entries],
            "known_at": starts,
        }
    )


def _placed(contract: Contract, rows: pa.Table, origins: pa.Table) -> pa.Table:
    """Return `rows` with the lineage of their files; `known_at` is the source's own, if later."""
    lineage = origins.take(rows["task"])
    for name in lineage.schema.names:
        if name not in rows.schema.names:
            rows = rows.append_column(name, lineage[name])
    if contract.recorded_at:
        index = rows.schema.get_field_index("known_at")
        recorded_at = rows[contract.recorded_at]
        is_later = pc.greater(recorded_at, rows["known_at"])
        rows = rows.set_column(
            index, "known_at", pc.if_else(is_later, recorded_at, rows["known_at"])
        )
    return rows


def _history(settings: Settings, plan: Plan, contract: Contract) -> list[Path]:
    """Return the lake files of the feed that this run leaves as they are."""
    building = {f"date={day}" for feed, day in plan.partitions if feed == contract.feed}
    files = settings.lake.glob(f"{contract.feed}/date=*/{contract.feed}.parquet")
    return sorted(path for path in files if path.parent.name not in building)


def _files(intake: Intake) -> pa.Table:
    """Return the files that `collect` names in quarantine, by `task`."""
    entries = [task.entry for task in intake.tasks]
    return pa.table(
        {
            "task": pa.array(range(len(entries)), pa.int32()),
            "source": pa.array([entry.source for entry in entries], pa.string()),
            "file": pa.array([entry.path for entry in entries], pa.string()),
            "known_on": pa.array([entry.known_on for entry in entries], pa.string()),
            "is_refused": pa.array([task in intake.refused for task in range(len(entries))]),
        }
    )


def _sources(intake: Intake) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by day and source: files, refused files, rows received and unknown columns."""
    days: dict[str, dict[str, dict[str, Any]]] = {}
    for index, task in enumerate(intake.tasks):
        sources = days.setdefault(task.entry.known_on, {})
        facts = sources.setdefault(
            task.entry.source, {"files": 0, "received": 0, "refused_files": 0, "unknown": []}
        )
        facts["files"] += 1
        facts["received"] += intake.received[index]
        facts["refused_files"] += index in intake.refused
        unknown = intake.unknown.get(index, set()) if index not in intake.refused else set()
        facts["unknown"] = sorted(unknown | set(facts["unknown"]))[:MOST_UNKNOWN]
    return days


@contextmanager
def _writing(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        yield writer
