"""Put the shards together: publish each partition of quarantine/ and lake/, then the ledger.

The ledger is written after the partitions and `closed.json` last of all, so a run that is killed
anywhere is simply run again: it plans the same, and publishes the same bytes.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import duckdb

from expectations.contracts import Contract, feeds, load
from pipelines.core.database import connect
from pipelines.core.errors import InputMissing
from pipelines.core.publishing import publishing, read_manifest, write_batches
from pipelines.core.settings import Settings
from pipelines.ingest.ledger import Entry, as_json, read_ledger, write_ledger
from pipelines.ingest.partition import lake_batches, quarantine_batches
from pipelines.ingest.plan_file import Plan, read_plan, work_folder
from pipelines.ingest.quarantine import SCHEMA
from pipelines.ingest.row_reconciliation import counts_of, prove, totals
from pipelines.ingest.shard import shard_folder
from pipelines.ingest.validation.rule_counts import merged


def publish_shards(settings: Settings, day: date) -> dict[str, Any]:
    """Publish what the shards of the run for `day` found; return the counts of `day` by feed.

    Raises:
        InputMissing: No run is planned for `day`, or one of its shards is not done.
    """
    closed = read_ledger(settings).closed_through
    if closed is not None and closed >= day and not work_folder(settings, day).exists():
        return _report(settings, day)  # a retry of a task that had ended well
    plan = read_plan(settings, day)
    folders = [shard_folder(settings, day, shard) for shard in range(len(plan.shards))]
    if undone := [folder.name for folder in folders if not (folder / "done.json").exists()]:
        raise InputMissing(
            f"The ingest of {day} is not complete: {len(undone)} of {len(folders)} shards are not "
            f"done ({', '.join(undone)}). Nothing was published and no day was closed. Run the "
            "failed shards again; their logs say why they stopped."
        )
    entries = _by_partition(plan)
    with connect(settings) as connection:
        for feed, partitions in groupby(plan.partitions, key=lambda partition: partition[0]):
            shards = _Shards(folder / feed for folder in folders)
            for _, known_on in partitions:
                known = entries.get((feed, known_on), [])
                _publish(settings, connection, load(feed), known_on, known, shards)
    newest = max(day, plan.ledger.closed_through or day)
    after = replace(plan.ledger, closed_through=newest)
    write_ledger(settings, read_ledger(settings), after)
    shutil.rmtree(work_folder(settings, day))
    return _report(settings, day) | {
        "partitions": len(plan.partitions),
        "standing": len(plan.standing),
    }


class _Shards:
    """What the shards found of one feed."""

    def __init__(self, folders: Iterable[Path]):
        self.folders = [folder for folder in folders if folder.is_dir()]
        self._facts = [json.loads((f / "facts.json").read_text("utf-8")) for f in self.folders]

    def sources(self, day: str) -> list[dict[str, dict[str, Any]]]:
        """Return of each shard what it read for `day`, by source."""
        return [facts["sources"].get(day, {}) for facts in self._facts]

    def quality(self, day: str) -> list[dict[str, Any]]:
        """Return how many values of `day` each rule looked at, and how many broke it."""
        return merged(facts["quality"].get(day, []) for facts in self._facts)


def _by_partition(plan: Plan) -> dict[tuple[str, str], list[Entry]]:
    partitions: dict[tuple[str, str], list[Entry]] = {}
    for entry in plan.ledger.entries:
        partitions.setdefault((entry.feed, entry.known_on), []).append(entry)
    return partitions


def _publish(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    day: str,
    entries: list[Entry],
    shards: _Shards,
) -> None:
    """Publish a partition; the lake's manifest comes last and says that it is complete."""
    feed, partition = contract.feed, f"date={day}"
    read = shards.sources(day)
    summary: dict[str, Any] = {"counts": {}}
    lake: dict[str, Any] = {
        "ledger": [as_json(entry) for entry in entries],
        "quality": shards.quality(day),
        "unknown_columns": _unknown(read),
    }
    rows_name = f"{feed}.parquet"
    with (
        publishing(settings.lake / feed / partition, lake) as lake_folder,
        publishing(settings.quarantine / feed / partition, summary) as quarantine_folder,
    ):
        rows, records = lake_folder / rows_name, quarantine_folder / "quarantine.parquet"
        loaded = lake_batches(connection, contract, day, shards.folders)
        write_batches(loaded, contract.lake_schema, rows)
        write_batches(quarantine_batches(connection, day, shards.folders), SCHEMA, records)
        counts = counts_of(connection, contract, entries, read, rows, records)
        prove(feed, day, counts)
        lake["counts"] = summary["counts"] = counts


def _unknown(read: list[dict[str, dict[str, Any]]]) -> dict[str, list[str]]:
    """Return the unknown columns of each source that sent any; a source is in one shard."""
    return {
        source: facts["unknown"]
        for sources in read
        for source, facts in sorted(sources.items())
        if facts["unknown"]
    }


def _report(settings: Settings, day: date) -> dict[str, Any]:
    counts = {
        feed: totals(read_manifest(Settings.day_folder(settings.lake / feed, day))["counts"])
        for feed in feeds()
    }
    known = read_ledger(settings).by_day.get(str(day), [])
    misplaced = sum(not entry.feed for entry in known)
    return {"date": str(day), "feeds": counts, "misplaced": misplaced}
