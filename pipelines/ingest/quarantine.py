"""Quarantine: what was set aside, with source, file, line, column, rule and severity.

`rows` says for how many received rows a record stands, so that sums are exact: a row that is set
aside for three reasons has three records, one with 1 and two with 0; a value that was emptied
has 0, because its row was loaded; a refused file has one record with all of its rows.
"""

import numpy as np
import pyarrow as pa

from pipelines.ingest.reading.records import Rejected

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
"""What a shard finds about rows: `task` is the position of the file, `row` the number of a row
that goes on, or NO_ROW."""

NO_ROW = -1


def unread(rejected: list[tuple[int, Rejected]]) -> pa.Table:
    """Return records that could not be read, each with the position of its file, as findings."""
    count = len(rejected)
    columns = {
        "task": pa.array([task for task, _ in rejected], pa.int32()),
        "row": pa.array(np.full(count, NO_ROW)),
        "line": pa.array([reject.line for _, reject in rejected], pa.int64()),
        "column": pa.nulls(count, pa.string()),
        "rule": pa.array([reject.rule for _, reject in rejected], pa.string()),
        "severity": pa.repeat("critical", count),
        "rows": pa.array(np.ones(count, np.int64)),
        "message": pa.array([reject.message for _, reject in rejected], pa.string()),
        "received": pa.array([reject.received for _, reject in rejected], pa.string()),
    }
    return pa.table(columns, schema=FINDINGS)


def refusal(source: str, path: str, rule: str, rows: int, message: str) -> dict[str, object]:
    """Return the one record that stands for all rows of a refused file."""
    return {
        "source": source,
        "file": path,
        "line": None,
        "column": None,
        "rule": rule,
        "severity": "critical",
        "rows": rows,
        "message": message,
        "received": None,
    }
