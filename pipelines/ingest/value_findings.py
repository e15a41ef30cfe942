"""Findings about values: counts by source of what was emptied, changed or can't be, for the page.

A partition's manifest has them as `findings` (id, count, sources, detail); their rules are in
`expectations/policy/verdict.yml`. No value of a row is among them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations import policy
from pipelines.core.arrays import BoolArray
from pipelines.ingest.plan import Task
from pipelines.ingest.reading.records import RejectedRecord

FINDING_OF_RULE = {
    "placeholder": "placeholders",
    "ceiling": "numbers_without_limit",
    "currency": "currency_not_iso",
    "in_the_future": "times_implausible",
    "too_long_ago": "times_implausible",
    "unterminated_line": "unterminated_line",
}
"""Rule of ingest -> id of the finding that counts its violations."""
PHONES = "phones_not_e164"
MAX_COLUMNS = 5
"""Columns of a source that a finding names."""

Facts = list[dict[str, Any]]
"""Entries of `id`, `source`, `column`, `count` (and `of`, for a share)."""


class ValueFindings:
    """The counts of one feed in a shard, by file."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, str, str]] = Counter()
        self._phones: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, violations: pa.Table, files: pa.ChunkedArray) -> None:
        """Add the violations (`row`, `column`, `rule`) of a batch; `files` is the file of a row."""
        noted = violations.filter(
            pc.is_in(violations["rule"], value_set=pa.array(list(FINDING_OF_RULE)))
        )
        if not noted.num_rows:
            return
        noted = noted.select(["column", "rule"]).append_column("file", files.take(noted["row"]))
        grouped = noted.group_by(["file", "column", "rule"]).aggregate([([], "count_all")])
        for group in grouped.to_pylist():
            key = group["file"], FINDING_OF_RULE[group["rule"]], group["column"] or ""
            self._counts[key] += group["count_all"]

    def add_cut_records(
        self, rejected: Iterable[tuple[int, RejectedRecord]], unterminated: Mapping[int, int]
    ) -> None:
        """Add the records that can't be read and are a last line without line end.

        Args:
            rejected: (file, record) of a batch.
            unterminated: File -> the line of its last record, where that has no line end.
        """
        name = FINDING_OF_RULE["unterminated_line"]
        for file, record in rejected:
            if unterminated.get(file) == record.line:
                self._counts[file, name, ""] += 1

    def add_phones(
        self, files: pa.ChunkedArray, is_sent: BoolArray, is_rewritten: BoolArray
    ) -> None:
        """Add the phones of a batch, and which of them ingest had to rewrite in E.164.

        Phones that stay invalid are counted in the lake, by the report.
        """
        file = files.to_numpy()
        phones, others = np.bincount(file[is_sent]), np.bincount(file[is_rewritten])
        for index in np.flatnonzero(phones).tolist():
            self._phones[index][0] += int(others[index]) if index < others.size else 0
            self._phones[index][1] += int(phones[index])

    def by_day(self, tasks: Iterable[Task]) -> dict[str, Facts]:
        """Return the facts by the date on which the files count; a source is in one shard."""
        entries = [task.entry for task in tasks]
        sums: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for (index, name, column), number in self._counts.items():
            sums[entries[index].known_on, name, entries[index].source, column][0] += number
        for index, (others, phones) in self._phones.items():
            pair = sums[entries[index].known_on, PHONES, entries[index].source, "phone"]
            pair[0] += others
            pair[1] += phones
        days: dict[str, Facts] = defaultdict(list)
        for (day, name, source, column), (number, total) in sorted(sums.items()):
            fact = {"id": name, "source": source, "column": column, "count": number}
            days[day].append(fact | ({"of": total} if total else {}))
        return dict(days)


def make_findings(facts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the findings of a partition from the facts of its shards, sorted by id."""
    by_id: dict[str, dict[str, Facts]] = defaultdict(lambda: defaultdict(list))
    for fact in facts:
        if fact["id"] != PHONES or _is_most(fact):
            by_id[fact["id"]][fact["source"]].append(fact)
    return [
        {
            "id": name,
            "count": len(sources) if name == PHONES else _sum(sources.values()),
            "sources": sorted(sources),
            "detail": "; ".join(
                f"{source}: {_describe(f)}" for source, f in sorted(sources.items())
            ),
        }
        for name, sources in sorted(by_id.items())
    ]


def _is_most(fact: dict[str, Any]) -> bool:
    """Return whether a channel's own format is at fault, not single mistakes of people."""
    limits = policy.verdict_rules()[PHONES].limits
    return bool(
        fact["count"] >= limits["min_leads"] and fact["count"] > limits["max_share"] * fact["of"]
    )


def _sum(sources: Iterable[Facts]) -> int:
    return sum(fact["count"] for facts in sources for fact in facts)


def _describe(facts: Facts) -> str:
    ranked = sorted(facts, key=lambda fact: (-fact["count"], fact["column"]))
    more = f", {len(ranked) - MAX_COLUMNS} more columns" if ranked[MAX_COLUMNS:] else ""
    return ", ".join(_words(ranked[:MAX_COLUMNS])) + more


def _words(facts: Facts) -> Iterator[str]:
    for fact in facts:
        of = f" of {fact['of']:,}" if "of" in fact else ""
        yield f"{fact['column'] or 'rows'} {fact['count']:,}{of}"
