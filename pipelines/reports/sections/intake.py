"""The first reconciliation point: rows received by feed, quarantine, files and expectations."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from expectations.contracts import feeds
from pipelines.core.database import connect, run_query
from pipelines.core.formats import without_personal
from pipelines.core.publishing import MANIFEST, read_manifest
from pipelines.core.settings import Settings
from pipelines.core.translation import join, text

QUARANTINE_BY_RULE = Path(__file__).parent / "sql" / "quarantine_by_rule.sql"

COUNTS = {
    "files": text("Files"),
    "rejected_files": text("Rejected files"),
    "received": text("Received"),
    "loaded": text("Loaded"),
    "quarantined": text("Quarantined"),
    "duplicates": text("Duplicates"),
    "emptied_values": text("Values emptied"),
}
"""Count of a lake manifest -> its heading, in the order of the page."""


@dataclass(frozen=True)
class FeedIntake:
    """Rows of one feed and source: received = loaded + quarantined + duplicates."""

    feed: str
    source: str
    files: int = 0
    rejected_files: int = 0
    received: int = 0
    loaded: int = 0
    quarantined: int = 0
    duplicates: int = 0
    emptied_values: int = 0

    @property
    def adds_up(self) -> bool:
        """Return whether every received row is counted exactly once."""
        return self.received == self.loaded + self.quarantined + self.duplicates


@dataclass(frozen=True)
class QuarantinedRule:
    """Quarantined records of one file under one rule."""

    feed: str
    source: str
    file: str
    """Below `landing/`."""
    column: str | None
    rule: str
    severity: str
    records: int
    """Rows, or values, that broke the rule; 1 for a file that was rejected whole."""
    rows: int
    """Received rows that these records account for: a row that broke several rules counts for one
    of them, an emptied value counts as none, a rejected file counts with all its rows."""
    first_line: int | None
    message: str
    is_file: bool


@dataclass(frozen=True)
class LandedFile:
    """A file that is not simply new: late, a copy, a new version, or in an invalid folder."""

    path: str
    """Below `landing/`."""
    is_late: bool
    is_rejected: bool
    note: str


@dataclass(frozen=True)
class ExpectationResult:
    """One Great Expectations result over all rows of a feed that were received for the day."""

    feed: str
    rule: str
    expectation: str
    """Its type in Great Expectations; for rule `type` the parser's own name."""
    column: str
    severity: str
    evaluated: int
    unexpected: int


@dataclass(frozen=True)
class UnknownColumns:
    """Columns that a source sends and the feed's contract does not have."""

    feed: str
    source: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class FeedTotal:
    """The counts of one feed over all its sources."""

    feed: str
    sources: int
    counts: dict[str, int]
    adds_up: bool


@dataclass(frozen=True)
class RuleTotal:
    """Quarantined records of one feed under one rule over all files, with one example."""

    feed: str
    column: str | None
    rule: str
    severity: str
    message: str
    records: int
    files: int
    file: str
    first_line: int | None


def load_intake(settings: Settings, day: date) -> tuple[FeedIntake, ...]:
    """Return the counts of every feed and source that landed something for `day`."""
    return tuple(
        FeedIntake(feed, source, **{name: counts.get(name, 0) for name in COUNTS})
        for feed, manifest in _lake_manifests(settings, day)
        for source, counts in sorted(manifest["counts"].items())
    )


def load_quarantine(settings: Settings, day: date) -> tuple[QuarantinedRule, ...]:
    """Return the quarantine of `day` by file and rule; no value of any row."""
    found: list[QuarantinedRule] = []
    with connect(settings) as connection:
        for feed in feeds():
            path = settings.day_folder(settings.quarantine / feed, day) / "quarantine.parquet"
            if path.is_file():
                rows = run_query(connection, QUARANTINE_BY_RULE, {"quarantine": str(path)})
                found += [_quarantined_rule(feed, row) for row in rows.fetchall()]
    return tuple(found)


def _quarantined_rule(feed: str, row: tuple[Any, ...]) -> QuarantinedRule:
    source, file, column, rule, severity, records, rows, first_line, message, is_file = row
    return QuarantinedRule(
        feed=feed,
        source=source,
        file=without_personal(file),
        column=column,
        rule=rule,
        severity=severity,
        records=records,
        rows=rows,
        first_line=first_line,
        message=without_personal(message or ""),
        is_file=is_file,
    )


def load_landed_files(settings: Settings, day: date) -> tuple[LandedFile, ...]:
    """Return the files known on `day` that are not simply new, by path."""
    path = settings.ledger / f"date={day}.jsonl"
    if not path.is_file():
        return ()
    entries = map(json.loads, path.read_text("utf-8").splitlines())
    files = [_landed_file(entry) for entry in entries]
    return tuple(sorted((file for file in files if file.note), key=lambda file: file.path))


def _landed_file(entry: dict[str, Any]) -> LandedFile:
    notes = [
        text("late: its own date had been run") if entry["is_late"] else "",
        text("version {number} of its path", number=entry["version"])
        if entry["version"] > 1
        else "",
        text("replaced by a newer version") if entry["state"] == "replaced" else "",
        without_personal(entry["note"]),
    ]
    return LandedFile(
        path=without_personal(entry["path"]),
        is_late=entry["is_late"],
        is_rejected=entry["state"] == "rejected",
        note=join(note for note in notes if note),
    )


def load_expectations(settings: Settings, day: date) -> tuple[ExpectationResult, ...]:
    """Return every expectation that was evaluated, failed ones first within a feed."""
    names = [field.name for field in fields(ExpectationResult) if field.name != "feed"]
    results = [
        ExpectationResult(feed, **{name: result[name] for name in names})
        for feed, manifest in _lake_manifests(settings, day)
        for result in manifest.get("quality", [])
    ]
    return tuple(
        sorted(results, key=lambda r: (r.feed, -r.unexpected, r.column, r.rule, r.severity))
    )


def load_unknown_columns(settings: Settings, day: date) -> tuple[UnknownColumns, ...]:
    """Return the columns that sources sent and their contract does not have."""
    return tuple(
        UnknownColumns(feed, source, tuple(sorted(map(without_personal, columns))))
        for feed, manifest in _lake_manifests(settings, day)
        for source, columns in sorted(manifest.get("unknown_columns", {}).items())
        if columns
    )


def list_lead_files(settings: Settings, day: date, days: int) -> list[str]:
    """Return the lake's files of leads of so many days, the last of them `day`."""
    folders = (
        settings.day_folder(settings.lake / "leads", day - timedelta(days=back))
        for back in range(days)
    )
    return [str(file) for folder in folders if (file := folder / "leads.parquet").is_file()]


def feed_totals(intake: Sequence[FeedIntake]) -> list[FeedTotal]:
    """Return one line per feed: the counts of its sources added up."""
    by_feed: dict[str, list[FeedIntake]] = defaultdict(list)
    for row in intake:
        by_feed[row.feed].append(row)
    return [
        FeedTotal(
            feed=feed,
            sources=len(rows),
            counts={name: sum(getattr(row, name) for row in rows) for name in COUNTS},
            adds_up=all(row.adds_up for row in rows),
        )
        for feed, rows in sorted(by_feed.items())
    ]


def rule_totals(quarantine: Sequence[QuarantinedRule]) -> list[RuleTotal]:
    """Return one line per feed, column and rule, most records first, without rejected files."""
    by_rule: dict[tuple[str, str, str, str], list[QuarantinedRule]] = defaultdict(list)
    for row in quarantine:
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


def _lake_manifests(settings: Settings, day: date) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every feed that has a lake partition for `day`, with its manifest."""
    for feed in feeds():
        folder = settings.day_folder(settings.lake / feed, day)
        if (folder / MANIFEST).is_file():
            yield feed, read_manifest(folder)
