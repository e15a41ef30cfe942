"""Quarantine: rejected rows, emptied values, duplicates and rejected files, each with its rule.

`rows` is the number of received rows that a record accounts for, so that sums are exact: a row
that breaks three rules has three records, one with 1 and two with 0; an emptied value has 0,
because its row was loaded; a rejected file has one record with all of its rows.
"""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected
from pipelines.core.settings import Settings
from pipelines.ingest.landing import NOT_OPENED
from pipelines.ingest.plan import Task
from pipelines.ingest.reading.reader import FeedReader
from pipelines.ingest.reading.records import RejectedRecord

SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("rows", pa.int64()),
        ("message", pa.string()),
        ("received", pa.string()),
    ]
)
"""Columns of `quarantine/FEED/date=D/quarantine.parquet`; `file` is relative to landing/."""

FINDINGS = pa.schema(
    [("task", pa.int32()), ("row", pa.int64()), *((f.name, f.type) for f in list(SCHEMA)[2:])]
)
"""The findings of a shard: `task` is the position of the file, `row` the number of an accepted
row, or NO_ROW."""

NO_ROW = -1

REJECTED_FILES = pa.schema([("task", pa.int32()), ("known_on", pa.string()), *SCHEMA])
MAX_NAMED_RULES = 3
"""Rules that a message names, the most often broken first."""


def make_record_findings(rejected: list[tuple[int, RejectedRecord]]) -> pa.Table:
    """Return rejected records, each with the position of its file, as findings."""
    count = len(rejected)
    columns = {
        "task": pa.array([task for task, _ in rejected], pa.int32()),
        "row": pa.array(np.full(count, NO_ROW)),
        "line": pa.array([record.line for _, record in rejected], pa.int64()),
        "column": pa.nulls(count, pa.string()),
        "rule": pa.array([record.rule for _, record in rejected], pa.string()),
        "severity": pa.repeat("critical", count),
        "rows": pa.array(np.ones(count, np.int64)),
        "message": pa.array([record.message for _, record in rejected], pa.string()),
        "received": pa.array([record.received for _, record in rejected], pa.string()),
    }
    return pa.table(columns, schema=FINDINGS)


class FileFindings:
    """The number of quarantined rows of each file, and of violations by rule."""

    def __init__(self, files: int):
        self.rows = np.zeros(files, np.int64)
        self._rules: dict[int, Counter[str]] = defaultdict(Counter)

    def add(self, findings: pa.Table) -> None:
        """Add findings (`FINDINGS`) of quarantined rows and emptied values."""
        tasks, rows = findings["task"].to_numpy(), findings["rows"].to_numpy()
        self.rows += np.bincount(tasks, rows, self.rows.size).astype(np.int64)
        critical = findings.filter(pa.compute.equal(findings["severity"], "critical"))
        by_rule = critical.group_by(["task", "rule", "column"]).aggregate([("line", "count")])
        for group in by_rule.to_pylist():
            column = f" of {group['column']}" if group["column"] else ""
            self._rules[group["task"]][group["rule"] + column] += group["line_count"]

    def describe_rules(self, task: int) -> str:
        """Return the rules that the rows of a file broke most often, with their counts."""
        ranked = sorted(self._rules[task].items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{rule} ({count:,})" for rule, count in ranked[:MAX_NAMED_RULES])


def reject_files(
    settings: Settings, contract: Contract, reader: FeedReader, findings: FileFindings
) -> pa.Table:
    """Return one record per rejected file, by `REJECTED_FILES`, in the order of the files.

    A file with too large a share of quarantined rows is added to `reader.rejected_files`.
    """
    for index, received in enumerate(reader.received):
        if (
            index not in reader.rejected_files
            and findings.rows[index] > settings.max_reject_share * received
        ):
            reader.rejected_files[index] = _reject_share(
                settings, contract, reader, findings, index
            )
    records = [
        _make_file_record(index, reader.tasks[index], error, reader.received[index])
        for index, error in sorted(reader.rejected_files.items())
    ]
    return pa.Table.from_pylist(records, schema=REJECTED_FILES)


def _reject_share(
    settings: Settings,
    contract: Contract,
    reader: FeedReader,
    findings: FileFindings,
    index: int,
) -> FileRejected:
    quarantined, received = int(findings.rows[index]), reader.received[index]
    return FileRejected(
        "reject_share",
        f"{quarantined:,} of its {received:,} rows ({quarantined / received:.1%}) break the "
        f"{contract.feed} contract; the limit is {settings.max_reject_share:.1%} "
        f"(BANYAN_MAX_REJECT_SHARE). Most often broken: {findings.describe_rules(index)}",
    )


def _make_file_record(index: int, task: Task, error: FileRejected, rows: int) -> dict[str, object]:
    """Return the one record that accounts for all rows of a rejected file."""
    entry = task.entry
    lost = f"None of its {rows:,} rows was loaded" if rows else "Nothing of it was loaded"
    sender = entry.source or "the sender"
    return {
        "task": index,
        "known_on": entry.known_on,
        "source": entry.source,
        "file": entry.path,
        "line": None,
        "column": None,
        "rule": error.rule,
        "severity": "critical",
        "rows": rows,
        "message": (
            f"{entry.path}: {error}. {lost}; the other files were loaded. The file is unchanged in "
            f"landing/. {_advise(task, error, sender)}"
        ),
        "received": None,
    }


def _advise(task: Task, error: FileRejected, sender: str) -> str:
    """Return what to do about a rejected file: a fault of the disk is none of its sender's."""
    if NOT_OPENED in {task.entry.sha256, error.rule}:
        return (
            "Mend what the operating system reports, such as the permission of the file or its "
            "folder, or a link, and run the date again; the sender need not send it again."
        )
    return f"Ask {sender} for a corrected file and put it in the same folder."
