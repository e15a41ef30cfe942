"""A dry run of a draft: the import's own reader and splitter, then ingest's own validation.

Nothing lands. Rows are shown masked.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from expectations.mapping import LoadedMapping
from pipelines.core.settings import Settings
from pipelines.importing.import_file import split_by_feed
from pipelines.importing.onboarding.profile import mask_digits
from pipelines.importing.split_by_feed import DateWindow, FeedSplitter
from pipelines.ingest.reading.text_table import make_text_table
from pipelines.ingest.validation.plausible_times import list_file_dates
from pipelines.ingest.validation.row_verdicts import FilesOfShard, RuleCounts, validate_batch
from pipelines.ingest.value_findings import ValueFindings

SHOWN_ROWS = 10
CUT = 24
"""Characters of a value that are shown."""


@dataclass
class DryRun:
    """What would become of the rows of the sample."""

    read: int
    unreadable: int
    arriving: int
    """Rows that would be loaded."""
    quarantined: int
    """Rows that would not be, by the import or by ingest."""
    quarantined_by_values: int
    """Rows that would not be even if every open question were answered."""
    reasons: list[dict[str, Any]] = field(default_factory=list)
    """`column`, `rule`, `severity`, `rows`, `message`, `open_question`; most frequent first."""
    rows: list[dict[str, str]] = field(default_factory=list)
    """The first rows as they would arrive, masked."""


def run_dry(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    loaded: LoadedMapping,
    names: list[str],
    contract: Contract,
    unanswered: tuple[str, ...],
) -> DryRun:
    """Return what would become of the rows of table `received`, by the mapping.

    Raises:
        ImportRejected: The mapping doesn't fit the file.
    """
    readable, unreadable = (connection.table(t).shape[0] for t in ("received", "unreadable"))
    split_by_feed(FeedSplitter(connection, loaded, names, DateWindow(None, None)))
    by_import = connection.execute(
        "select rule, message, count(*) from quarantined group by all order by 3 desc, 1, 2"
    ).fetchall()
    reasons = [
        _reason("", rule, "critical", rows, message, open_question=False)
        for rule, message, rows in by_import
    ]
    rows = connection.sql(f'from "{contract.feed}" order by all').to_arrow_table()
    result = DryRun(readable + unreadable, unreadable, 0, 0, 0, reasons)
    lost = sum(count for *_, count in by_import)
    if rows.num_rows == 0:
        result.quarantined = result.quarantined_by_values = lost
        return result
    text, days = _make_text(contract, rows)
    files = FilesOfShard(list_file_dates(settings, days), {}, ValueFindings())
    counts = RuleCounts(str(day) for day in days)
    accepted, findings, _ = validate_batch(connection, contract, text, 0, counts, files)
    result.reasons += _count_reasons(findings, unanswered)
    result.arriving = accepted.num_rows
    result.quarantined = lost + rows.num_rows - accepted.num_rows
    is_open = pc.is_in(findings["column"], value_set=pa.array(unanswered, pa.string()))
    is_critical = pc.equal(findings["severity"], "critical")
    by_values = findings.filter(
        pc.and_(is_critical, pc.invert(pc.fill_null(is_open, fill_value=False)))
    )
    result.quarantined_by_values = lost + len(pc.unique(by_values["line"]))
    result.rows = [_mask_row(contract, row) for row in rows.slice(0, SHOWN_ROWS).to_pylist()]
    return result


def _make_text(contract: Contract, rows: pa.Table) -> tuple[pa.Table, list[date]]:
    """Return the rows as ingest reads them from landed files, and the date of each file."""
    landed = pc.dictionary_encode(rows["landed"].combine_chunks())
    columns = {
        name: pc.if_else(pc.equal(values, ""), None, values)
        for name in contract.names
        for values in [rows[name]]
    }
    number = pa.array(range(1, rows.num_rows + 1), pa.int64())
    columns |= {
        "task": landed.indices.cast(pa.int32()),
        "line": number,
        "received": pa.nulls(rows.num_rows, pa.string()),
    }
    return make_text_table(contract, columns), landed.dictionary.to_pylist()


def _count_reasons(findings: pa.Table, unanswered: tuple[str, ...]) -> list[dict[str, Any]]:
    grouped = findings.group_by(["column", "rule", "severity", "message"]).aggregate(
        [("line", "count_distinct")]
    )
    found = [
        _reason(
            row["column"] or "", row["rule"], row["severity"], row["line_count_distinct"],
            row["message"], open_question=row["column"] in unanswered,
        )
        for row in grouped.to_pylist()
    ]  # fmt: skip
    return sorted(found, key=lambda r: (-r["rows"], r["column"], r["rule"]))


def _reason(
    column: str, rule: str, severity: str, rows: int, message: str, *, open_question: bool
) -> dict[str, Any]:
    return {
        "column": column,
        "rule": rule,
        "severity": severity,
        "rows": rows,
        "message": message,
        "open_question": open_question,
    }


def _mask_row(contract: Contract, row: dict[str, Any]) -> dict[str, str]:
    """Return the values of a row that are known, masked where they identify a person."""
    shown = {"source": row["source"], "date": str(row["landed"])}
    for column in contract.columns:
        value = row[column.name]
        if value is None or value == "":
            continue
        if column.personal or column.protected:
            shown[column.name] = (
                f"{value[:1] if len(value) > 1 else ''}{'*' * min(len(value) - 1, 7) or '*'}"
            )
        elif column.type == "text" and column.name != "lead_id":
            shown[column.name] = mask_digits(value)[:CUT]
        elif column.type == "timestamp":
            shown[column.name] = value.replace(".000000", "").replace("T", " ")
        else:
            shown[column.name] = value[:CUT]
    return shown
