"""What becomes of each row of a batch: it goes on, with broken optional values emptied, or not."""

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.contracts import Contract
from pipelines.core.arrays import IntArray
from pipelines.ingest.quarantine import FINDINGS, NO_ROW
from pipelines.ingest.validation.great_expectations_gate import judge
from pipelines.ingest.validation.parse import parsed
from pipelines.ingest.validation.rule_counts import Tallies


def judged(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    text: pa.Table,
    first_row: int,
    tallies: Tallies,
) -> tuple[pa.Table, pa.Table]:
    """Parse and judge a batch.

    Args:
        text: Rows by `text_schema`.
        first_row: Number of the first row that goes on; the others follow.
        tallies: Takes up what was evaluated and what was unexpected.

    Returns:
        The rows that go on (typed columns, `extras`, `task`, `line`, `received` and their
        number `row`), and what was found (`quarantine.FINDINGS`; what is only counted isn't).
    """
    typed, misfits = parsed(connection, contract, text)
    verdict = judge(contract, typed)
    tallies.add(contract, typed, text["task"], misfits, verdict)
    findings = pa.concat_tables([misfits, _without_repeats(verdict.findings, misfits)])

    is_critical = np.zeros(text.num_rows, bool)
    severe = findings.filter(pc.equal(findings["severity"], "critical"))
    is_critical[severe["row"].to_numpy()] = True
    mild = findings.filter(pc.equal(findings["severity"], "warning"))
    mild = mild.filter(pa.array(~is_critical[mild["row"].to_numpy()]))

    rows = _emptied(typed, mild)
    for name in ("extras", "task", "line", "received"):
        rows = rows.append_column(name, text[name])
    numbers = np.where(is_critical, NO_ROW, first_row + np.cumsum(~is_critical) - 1)
    rows = rows.append_column("row", pa.array(numbers)).filter(pa.array(~is_critical))
    found = [_records(part, text, numbers) for part in (severe, mild)]
    return rows, pa.concat_tables(found)


def _without_repeats(findings: pa.Table, misfits: pa.Table) -> pa.Table:
    """Return `findings` without what follows from a misfit: its value is null by now."""
    if not misfits.num_rows or not findings.num_rows:
        return findings
    told = pc.is_in(_cells(findings), value_set=_cells(misfits).combine_chunks())
    return findings.filter(pc.invert(told))


def _cells(findings: pa.Table) -> pa.ChunkedArray:
    rows = findings["row"].cast(pa.string())
    return pc.binary_join_element_wise(rows, findings["column"], "/")


def _emptied(typed: pa.Table, mild: pa.Table) -> pa.Table:
    """Return `typed` with null for each value that broke a rule of severity warning."""
    for name in pc.unique(mild["column"]).to_pylist():
        is_broken = np.zeros(typed.num_rows, bool)
        is_broken[mild.filter(pc.equal(mild["column"], name))["row"].to_numpy()] = True
        index = typed.schema.get_field_index(name)
        emptied = pc.if_else(pa.array(is_broken), None, typed[name])
        typed = typed.set_column(index, name, emptied)
    return typed


def _records(findings: pa.Table, text: pa.Table, numbers: IntArray) -> pa.Table:
    """Return `findings` as quarantine keeps them; a row set aside counts on its first one."""
    findings = findings.sort_by([("row", "ascending")])
    at = findings["row"].to_numpy()
    row = numbers[at]
    is_first = np.diff(at, prepend=NO_ROW) > 0
    origin = text.select(["task", "line", "received"]).take(findings["row"])
    columns = {
        "task": origin["task"],
        "row": row,
        "line": origin["line"],
        "rows": (is_first & (row == NO_ROW)).astype(np.int64),
        "received": origin["received"],
    } | {name: findings[name] for name in ("column", "rule", "severity", "message")}
    return pa.table({name: columns[name] for name in FINDINGS.names}, schema=FINDINGS)
