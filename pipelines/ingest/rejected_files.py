"""Files that are refused whole, and the message that tells what to do about each."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa

from expectations.contracts import Contract
from pipelines.core.errors import FileRejected
from pipelines.core.settings import Settings
from pipelines.ingest.plan_file import Task
from pipelines.ingest.quarantine import SCHEMA, refusal
from pipelines.ingest.reading.read_file import Intake

REFUSED = pa.schema([("task", pa.int32()), ("known_on", pa.string()), *SCHEMA])
MOST_NAMED = 3
"""Rules that a message names, the most often broken first."""


class Broken:
    """How many rows of each file were set aside, and by which rules."""

    def __init__(self, files: int):
        self.rows = np.zeros(files, np.int64)
        self._rules: dict[int, Counter[str]] = defaultdict(Counter)

    def add(self, findings: pa.Table) -> None:
        """Add findings (`quarantine.FINDINGS`) of rows that were set aside or changed."""
        tasks, rows = findings["task"].to_numpy(), findings["rows"].to_numpy()
        self.rows += np.bincount(tasks, rows, self.rows.size).astype(np.int64)
        severe = findings.filter(pa.compute.equal(findings["severity"], "critical"))
        by_rule = severe.group_by(["task", "rule", "column"]).aggregate([("line", "count")])
        for found in by_rule.to_pylist():
            where = f" of {found['column']}" if found["column"] else ""
            self._rules[found["task"]][found["rule"] + where] += found["line_count"]

    def worst(self, task: int) -> str:
        """Return the rules that the rows of a file broke most often, with how many did."""
        ranked = sorted(self._rules[task].items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{rule} ({count:,})" for rule, count in ranked[:MOST_NAMED])


def refusals(settings: Settings, contract: Contract, intake: Intake, broken: Broken) -> pa.Table:
    """Return one record for each refused file, by `REFUSED`, in the order of the files."""
    for index, received in enumerate(intake.received):
        if (
            index not in intake.refused
            and broken.rows[index] > settings.max_reject_share * received
        ):
            intake.refused[index] = _too_many(settings, contract, intake, broken, index)
    records = [
        _record(index, intake.tasks[index], error, intake.received[index])
        for index, error in sorted(intake.refused.items())
    ]
    return pa.Table.from_pylist(records, schema=REFUSED)


def _too_many(
    settings: Settings, contract: Contract, intake: Intake, broken: Broken, index: int
) -> FileRejected:
    rejected, received = int(broken.rows[index]), intake.received[index]
    return FileRejected(
        "reject_share",
        f"{rejected:,} of its {received:,} rows ({rejected / received:.1%}) break the "
        f"{contract.feed} contract; the limit is {settings.max_reject_share:.1%} "
        f"(BANYAN_MAX_REJECT_SHARE). Most often broken: {broken.worst(index)}",
    )


def _record(index: int, task: Task, error: FileRejected, rows: int) -> dict[str, object]:
    entry = task.entry
    lost = f"None of its {rows:,} rows was loaded" if rows else "Nothing of it was loaded"
    sender = entry.source or "the sender"
    message = (
        f"{entry.path}: {error}. {lost}; the other files went on. The file lies unchanged in "
        f"landing/. Ask {sender} for a corrected file and put it in the same folder."
    )
    record = refusal(entry.source, entry.path, error.rule, rows, message)
    return {"task": index, "known_on": entry.known_on} | record
