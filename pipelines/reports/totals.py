"""Sums that the page shows first: by feed what came in, by rule what was set aside."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.reports.report_data import Border, SetAside

COUNTS = {
    "files": "Files",
    "refused_files": "Refused files",
    "received": "Received",
    "loaded": "Loaded",
    "quarantined": "Quarantined",
    "duplicates": "Duplicates",
    "emptied_values": "Values emptied",
}
"""Counts at the first border, in the order of the page, with their headings."""


@dataclass(frozen=True)
class FeedTotal:
    """The counts of all sources of one feed."""

    feed: str
    sources: int
    counts: dict[str, int]
    adds_up: bool


@dataclass(frozen=True)
class RuleTotal:
    """What all files of one feed have in quarantine under one rule, and one place to look."""

    feed: str
    column: str | None
    rule: str
    severity: str
    message: str
    records: int
    files: int
    file: str
    first_line: int | None


def feed_totals(borders: Sequence[Border]) -> list[FeedTotal]:
    """Return one line per feed: its sources' counts added up."""
    by_feed: dict[str, list[Border]] = defaultdict(list)
    for border in borders:
        by_feed[border.feed].append(border)
    return [
        FeedTotal(
            feed=feed,
            sources=len(rows),
            counts={name: sum(getattr(row, name) for row in rows) for name in COUNTS},
            adds_up=all(row.adds_up for row in rows),
        )
        for feed, rows in sorted(by_feed.items())
    ]


def rule_totals(set_aside: Sequence[SetAside]) -> list[RuleTotal]:
    """Return one line per feed, column and rule, most first; refused files are left out."""
    by_rule: dict[tuple[str, str, str, str], list[SetAside]] = defaultdict(list)
    for row in set_aside:
        if not row.is_file:
            by_rule[row.feed, row.column or "", row.rule, row.severity].append(row)
    totals = [
        RuleTotal(
            feed=feed,
            column=column or None,
            rule=rule,
            severity=severity,
            message=rows[0].message,
            records=sum(row.records for row in rows),
            files=len({row.file for row in rows}),
            file=rows[0].file,
            first_line=rows[0].first_line,
        )
        for (feed, column, rule, severity), rows in by_rule.items()
    ]
    return sorted(totals, key=lambda row: (-row.records, row.feed, row.column or "", row.rule))
