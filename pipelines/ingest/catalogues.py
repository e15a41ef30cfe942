"""Full catalogues that may open what others closed: files without rows, and two files of a day.

A full catalogue replaces the one before. A file without rows would say that nothing is offered,
admitted or ruled out any more, and an export that failed writes the same. Two files of a day with a
key in common are two statements of one catalogue, and what only one of them lists is contradictory.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected
from pipelines.ingest.lake_history import parquet_sql, select_history
from pipelines.ingest.plan import Task

CONTRADICTORY = pa.schema([("row", pa.int64()), ("reason", pa.string())])
"""Rows of a catalogue that another row or file of its day contradicts."""

ONE_LIST_ONLY = "listed in one of two files of a day"


def find_empty_catalogues(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    tasks: Sequence[Task],
    received: Sequence[int],
    rows: Path,
    history: Sequence[Path],
) -> dict[int, FileRejected]:
    """Return the files without rows of sources that had rows before, by their number.

    A source that never sent a row says nothing by such a file. Beside a file with rows, on one day,
    it is an empty part.

    Args:
        connection: Runs the query.
        contract: The feed's; of a full catalogue.
        tasks: The files of the feed in the shard.
        received: Number of rows of each file.
        rows: Parquet of the rows that passed the gate.
        history: Lake files of the feed in partitions that this run does not build.
    """
    empty = [index for index, count in enumerate(received) if not count]
    files = pa.table(
        {
            "task": pa.array(empty, pa.int32()),
            "source": pa.array([tasks[index].entry.source for index in empty], pa.string()),
            "known_on": pa.array([tasks[index].entry.known_on for index in empty], pa.string()),
        }
    )
    sent_today = {
        (task.entry.source, task.entry.known_on)
        for task, count in zip(tasks, received, strict=True)
        if count
    }
    if not empty:
        return {}
    source = contract.source_column
    known = f"select {source} as source, known_on from {parquet_sql(rows)}"
    if history:
        known += f" union all select {source}, known_on from ({select_history(history)})"
    connection.register("empty_files", files)
    found = connection.execute(
        f"""
        select distinct empty_files.task, empty_files.source, empty_files.known_on
        from empty_files
        inner join ({known}) as known
            on empty_files.source = known.source
                and known.known_on < cast(empty_files.known_on as date)
        """
    ).fetchall()
    connection.unregister("empty_files")
    return {
        task: FileRejected(
            "no_rows",
            f"it has no row, and {source} sent rows of {contract.feed} before; a catalogue that "
            "is meant to end something lists it with its end, and rules end with a rule that "
            "everybody meets",
        )
        for task, *sent in found
        if tuple(sent) not in sent_today
    }


def find_rows_of_one_list(contract: Contract) -> str:
    """Return SQL of the rows of view `arrived` that one of two files of a day alone lists.

    Only catalogues whose rows open something count; each row of a list of rules restricts.
    """
    key = ", ".join(contract.key)
    return f"""
        with remaining as (from arrived anti join dropped using (row)),
        listed as (select distinct known_on, task, {key} from remaining),
        overlapping as (
            select distinct one.known_on, one.task, other.task as other_task
            from listed as one
            inner join listed as other
                on one.known_on = other.known_on
                    and one.task != other.task
                    and {" and ".join(f"one.{name} = other.{name}" for name in contract.key)}
        )
        select distinct remaining.row, '{ONE_LIST_ONLY}' as reason
        from remaining
        inner join overlapping using (known_on, task)
        where not exists (
            select 1 from listed
            where listed.known_on = remaining.known_on
                and listed.task = overlapping.other_task
                and {" and ".join(f"listed.{name} = remaining.{name}" for name in contract.key)}
        )
    """
