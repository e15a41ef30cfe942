"""Returns and disputes of delivered leads: decide by policy, and find channels with many."""

from collections import defaultdict
from datetime import date, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from pipelines.billing.billing_tables import DECISIONS, SQL, load_decisions
from pipelines.core.database import query_table
from pipelines.core.settings import Settings

WINDOW_DAYS = 30
"""Days up to a date whose deliveries a channel's share of returns is taken of."""


def decide_returns(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date
) -> pa.Table:
    """Return the decisions of `day` on returns and disputes, see `DECISIONS`.

    Args:
        connection: With the views of `open_billing`.
        settings: Where earlier decisions are.
        day: The business date.
    """
    rules = policy.returns()
    connection.register("decided", load_decisions(settings, day, inclusive=False))
    windows = {"code": list(rules.reasons), "days": list(rules.reasons.values())}
    schema = pa.schema([("code", pa.string()), ("days", pa.int64())])
    connection.register("windows", pa.table(windows, schema=schema))
    people = [
        entry.model_dump(include={"institution_id", "match_id", "decision"})
        for entry in rules.disputes
        if entry.decided_on <= day
    ]
    names = ("institution_id", "match_id", "decision")
    connection.register(
        "people", pa.Table.from_pylist(people, pa.schema([(name, pa.string()) for name in names]))
    )
    return query_table(
        connection,
        SQL / "return_decisions.sql",
        {
            "day": day,
            "dispute_days": rules.dispute_days,
            "least_returns": rules.cap.least_returns,
            "cap_share": rules.cap.share,
        },
    ).cast(DECISIONS)


def find_return_problems(
    connection: duckdb.DuckDBPyConnection, decisions: pa.Table, day: date
) -> list[dict[str, Any]]:
    """Return the findings on returns: refusals, open disputes, channels with many returns.

    Args:
        connection: With the views of `open_billing`.
        decisions: All decisions up to `day`.
        day: The business date.
    """
    rows = decisions.to_pylist()
    refused = [row for row in rows if row["decided_on"] == day and row["decision"] == "refused"]
    final = {(r["match_id"], r["recorded_at"]) for r in rows if r["decision"] != "open"}
    disputes = [
        row
        for row in rows
        if row["decision"] == "open" and (row["match_id"], row["recorded_at"]) not in final
    ]
    found = []
    for rule, these in (("returns_refused", refused), ("disputes_open", disputes)):
        if these:
            sources = sorted({row["institution_id"] for row in these})
            why = sorted({row["why"] for row in these if row["why"]})
            found.append(
                {"id": rule, "count": len(these), "sources": sources, "detail": ", ".join(why)}
            )
    return found + _find_channels(connection, rows, day)


def _find_channels(
    connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]], day: date
) -> list[dict[str, Any]]:
    """Return the finding on channels of whose recent leads many were returned."""
    limits, first = policy.returns().channel_finding, day - timedelta(days=WINDOW_DAYS - 1)
    returned: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["decision"] == "accepted" and row["delivered_on"] >= first:
            returned[row["channel_id"]].add(row["match_id"])
    if not returned:
        return []
    delivered = dict(
        connection.execute(
            'select channel_id, count(distinct match_id) from delivered where "date" >= $first '
            "group by channel_id",
            {"first": first},
        ).fetchall()
    )
    many = {
        channel: len(matches)
        for channel, matches in sorted(returned.items())
        if len(matches) >= limits.least_returns
        and len(matches) >= limits.least_share * delivered.get(channel, 0)
    }
    if not many:
        return []
    detail = ", ".join(f"{name}: {row} of {delivered.get(name, 0)}" for name, row in many.items())
    return [
        {
            "id": "channel_returns",
            "count": sum(many.values()),
            "sources": list(many),
            "detail": detail,
        }
    ]
