"""Findings on outcomes: claims on matches not received, implausible values, sudden changes."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from expectations import policy
from pipelines.core.database import run_query

SQL = Path(__file__).parent / "sql"

Fact = dict[str, Any]


def find_outcome_problems(connection: duckdb.DuckDBPyConnection, day: date) -> list[Fact]:
    """Return the findings of `day`, one for each institution and problem: `id`, `count`, `sources`.

    Args:
        connection: With the marts.
        day: The business date.
    """
    return [*_find_ignored(connection), *_find_sudden_changes(connection, day)]


def _find_ignored(connection: duckdb.DuckDBPyConnection) -> Iterator[Fact]:
    limits = policy.outcomes().findings
    rows = run_query(
        connection,
        SQL / "outcome_problems.sql",
        {"least_rows": limits.least_rows, "least_share": limits.least_share},
    ).fetchall()
    for problem, institution, ignored, sent, reasons in rows:
        detail = f"{institution}: {ignored:,} of its {sent:,} outcomes don't count ({reasons})"
        yield {"id": problem, "count": ignored, "sources": [institution], "detail": detail}


def _find_sudden_changes(connection: duckdb.DuckDBPyConnection, day: date) -> Iterator[Fact]:
    window = policy.outcomes().sudden_change.window_days
    rows = run_query(
        connection,
        SQL / "sudden_changes.sql",
        {"day": f"{day}", "window_days": window},
    ).fetchall()
    for institution, dates, last, compared, rate, decisions, new_rate, new_decisions in rows:
        expected = (
            f"{rate:.1%} were predicted"
            if compared == "predictions"
            else f"{rate:.1%} of {decisions:,} before"
        )
        detail = (
            f"{institution}: {new_rate:.1%} of {new_decisions:,} decisions reported up to "
            f"{last} were approvals, {expected}; the outcomes of "
            f"{dates:,} date{'s' if dates > 1 else ''} don't train"
        )
        sources = [institution]
        yield {
            "id": "outcomes_sudden_change",
            "count": new_decisions,
            "sources": sources,
            "detail": detail,
        }
