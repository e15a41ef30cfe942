"""Render the facts of a day as one self-contained page. The same facts give the same bytes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from expectations import policy
from pipelines.report import charts, formats
from pipelines.report.details import DETAILS
from pipelines.report.facts import Border, Facts, SetAside
from pipelines.report.headline import Headline

TEMPLATES = Path(__file__).parent / "templates"
MOST_ROWS = 200
"""Longest list of single files on the page; `quality.json` has them all."""

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

SECTIONS = (
    ("leads", "Leads"),
    ("borders", "In and out"),
    ("quality", "Quality"),
    ("matches", "Matches"),
    ("models", "Models"),
    ("evidence", "Evidence"),
    ("terms", "Words"),
)


@dataclass(frozen=True)
class FeedTotal:
    """The counts of all sources of one feed."""

    feed: str
    sources: int
    counts: dict[str, int]
    adds_up: bool


@dataclass(frozen=True)
class RuleTotal:
    """The rows of all files of one feed that broke one rule, and one place to look."""

    feed: str
    column: str | None
    rule: str
    severity: str
    rows: int
    files: int
    source: str
    file: str
    first_line: int | None


def render(facts: Facts) -> str:
    """Return the page of `facts` as HTML."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            facts=facts,
            matching=facts.matching,
            headline=Headline(facts),
            sections=SECTIONS,
            counts=COUNTS,
            totals=feed_totals(facts.borders),
            refused=[row for row in facts.set_aside if row.is_file],
            rules=rule_totals(facts.set_aside),
            broken=[result for result in facts.expectations if result.unexpected],
            kept=[result for result in facts.expectations if not result.unexpected],
            served=[row for row in facts.matching.institutions if row.matches],
            currency=policy.base_currency(),
            details=DETAILS,
            limit=MOST_ROWS,
        )
    )


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
    """Return one line per feed, column and rule, most rows first; refused files are left out."""
    by_rule: dict[tuple[str, str, str, str], list[SetAside]] = defaultdict(list)
    for row in set_aside:
        if not row.is_file:
            by_rule[row.feed, row.column or "", row.rule, row.severity].append(row)
    totals = [
        RuleTotal(
            feed,
            column or None,
            rule,
            severity,
            sum(row.rows for row in rows),
            len({(row.source, row.file) for row in rows}),
            rows[0].source,
            rows[0].file,
            rows[0].first_line,
        )
        for (feed, column, rule, severity), rows in by_rule.items()
    ]
    return sorted(
        totals, key=lambda total: (-total.rows, total.feed, total.column or "", total.rule)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["charts"] = charts
    environment.filters |= {
        name: getattr(formats, name)
        for name in ("count", "share", "percent", "figure", "small", "money", "words")
    } | {"plural": formats.plural, "long_date": formats.long_date}
    return environment
