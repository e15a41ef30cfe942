"""Withdrawal notices: what a person asks after the delivery reaches every institution that has it.

A withdrawal, an erasure or a do-not-contact order concerns every match of the person that was ever
in a lead file, of any version. Each match is noticed once for each kind, on the first day on which
the platform knows that the order concerns it. Of an erased person nothing is left to search for, so
the erasure itself listed the matches.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import (
    DELIVERED,
    connect,
    create_files_view,
    create_known_view,
    query_table,
    run_query,
)
from pipelines.core.home.erasures import load_erasure_notices
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"

NOTICES = pa.schema(
    [
        *(
            (name, pa.string())
            for name in (
                "match_id",
                "institution_id",
                "channel_id",
                "lead_id",
                "delivery_id",
                "kind",
            )
        ),
        ("effective_on", pa.date32()),
        ("deadline", pa.date32()),
    ]
)
"""Columns of the notices of a day, for all institutions."""

SATURDAY = 5


def find_notices(settings: Settings, day: date, noticed: pa.Table) -> pa.Table:
    """Return what institutions must be noticed of on `day`, see `NOTICES`.

    Args:
        settings: Where lake and deliveries are.
        day: The business date; nothing that became known later is read.
        noticed: `match_id` and `kind` of earlier notices.
    """
    rules = policy.deliveries().notices
    first = day - timedelta(days=rules.retention_days)
    same_person = timedelta(days=policy.identity(day).same_person_days)
    with connect(settings) as connection:
        connection.execute("set parquet_metadata_cache = true")  # files of each date, read twice
        _create_dated_view(connection, settings.delivered, "lake_delivered", "*", first, day)
        _create_dated_view(
            connection, settings.lake / "leads", "lake_leads", "leads", first - same_person, day
        )
        create_known_view(connection, settings, "suppressions", day)
        connection.register("noticed", noticed)
        connection.register("kinds", _to_table(rules.kinds, "reason", "kind", pa.string()))
        deadlines = {
            currency: add_business_days(day, days)
            for currency, days in rules.deadline_business_days.items()
        }
        default = deadlines.pop("default")
        run_query(connection, SQL / "notice_candidates.sql")
        firms = policy.identity(day).firms_of_one_owner
        for name in ("owner_leads", "recent_leads"):
            connection.execute(f"create view {name} as from leads")
        limits = {"are_one": firms.are == "one", "max_firms": firms.max_firms}
        run_query(connection, SQL / "joining_owners.sql", limits)
        run_query(connection, SQL / "numbered_leads.sql")
        connection.register("deadlines", _to_table(deadlines, "currency", "deadline", pa.date32()))
        connection.register("erased_matches", load_erasure_notices(settings, day))
        return query_table(
            connection,
            SQL / "withdrawal_notices.sql",
            {
                "same_person_days": same_person.days,
                "zone": settings.time_zone,
                "deadline": default,
            },
        ).cast(NOTICES)


def add_business_days(day: date, days: int) -> date:
    """Return the date `days` business days after `day`; weekends are skipped, holidays are not."""
    while days:
        day += timedelta(days=1)
        days -= day.weekday() < SATURDAY
    return day


def _create_dated_view(
    connection: duckdb.DuckDBPyConnection,
    root: Path,
    name: str,
    stem: str,
    first: date,
    last: date,
) -> None:
    """Create the view `name` of the partitions of `root` between two dates, with their `date`."""
    files = [
        str(path)
        for folder in sorted(root.glob("date=*"))
        if f"date={first}" <= folder.name <= f"date={last}"
        for path in sorted(folder.glob(f"{stem}.parquet"))
        if not path.name.startswith(".")
    ]
    schema = load("leads").lake_schema if stem == "leads" else DELIVERED
    schema = schema.append(pa.field("date", pa.date32()))
    create_files_view(connection, name, files, schema)


def _to_table(values: Mapping[str, Any], key: str, value: str, kind: pa.DataType) -> pa.Table:
    return pa.table(
        {key: pa.array(list(values), pa.string()), value: pa.array(list(values.values()), kind)}
    )
