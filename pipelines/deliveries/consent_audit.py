"""Consent audit: check the bytes that an institution is about to receive.

The audit trusts no result of the matching. It looks up every lead of the file in the lake again:
consent that covers this institution, is not withdrawn and not too old; no suppression order; the
personal columns of the same person, so that no row mixes two people; and no phone or identity
number twice.
"""

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import create_known_view, run_query
from pipelines.core.settings import Settings

SQL = Path(__file__).parent / "sql"
PERSONAL = tuple(column.name for column in load("leads").columns if column.personal)


def load_evidence(
    connection: duckdb.DuckDBPyConnection, settings: Settings, day: date, as_of: date
) -> None:
    """Create `lake_leads` (of table `matches`), `related_leads` and `suppression_orders`.

    The leads are of `day`, the orders known by the end of `as_of`. Both serve the
    audits of all institutions.
    """
    connection.execute(
        """
        create or replace table lake_leads as
        from read_parquet($leads, hive_partitioning = false)
        where (channel_id, lead_id) in (select (channel_id, lead_id) from matches)
        """,
        {"leads": str(settings.day_folder(settings.lake / "leads", day) / "leads.parquet")},
    )
    window = timedelta(days=policy.identity(day).same_person_days)
    folders = (settings.lake / "leads").glob("date=*")
    first, last = (
        settings.day_folder(settings.lake / "leads", end) for end in (day - window, as_of)
    )
    recent = [str(each / "leads.parquet") for each in sorted(folders) if first <= each <= last]
    connection.read_parquet(recent, hive_partitioning=False).create_view("recent_leads")
    run_query(connection, SQL / "related_leads.sql")
    create_known_view(connection, settings, "suppressions", as_of)
    run_query(connection, SQL / "suppression_orders.sql")


def find_violations(
    connection: duckdb.DuckDBPyConnection,
    delivered: pa.Table,
    institution_id: str,
    settings: Settings,
    day: date,
    as_of: date,
) -> dict[str, int]:
    """Return the violations of a lead file: kind -> number of rows.

    Args:
        connection: With the tables of `load_evidence`, `later_consents` and the table `matches`.
        delivered: The content of the file, with `match_id` and `product_id`.
        institution_id: The recipient.
        settings: The settings, for the platform's time zone.
        day: The business date of the matches.
        as_of: The date up to which orders and withdrawals are known.
    """
    consent = policy.consent(day)
    connection.register("delivered", delivered)
    connection.register("audited_rows", _join_evidence(connection, delivered, institution_id))
    violations = run_query(
        connection,
        SQL / "violations.sql",
        {
            "institution": institution_id,
            "every_institution": consent.every_institution,
            "oldest_consent": settings.day_start(day - timedelta(days=consent.longest_days)),
            "day_end": settings.day_start(day + timedelta(days=1)),
            "known_end": settings.day_start(as_of + timedelta(days=1)),
        },
    ).fetchall()
    connection.unregister("audited_rows")
    connection.unregister("delivered")
    return dict(violations)


def _join_evidence(
    connection: duckdb.DuckDBPyConnection, delivered: pa.Table, institution_id: str
) -> pa.Table:
    """Return each delivered row with its match and lead of the lake, if there are any."""
    differences = [
        f"cast(delivered.{name} as varchar) is distinct from cast(lake_leads.{name} as varchar)"
        for name in PERSONAL
        if name in delivered.column_names
    ]
    return connection.sql(
        f"""
        select
            matches.match_id, lake_leads.channel_id, lake_leads.lead_id,
            lake_leads.consent_scope, lake_leads.consent_at, lake_leads.consent_withdrawn_at,
            case when lake_leads.is_id_valid then lake_leads.id_number_sha256 end as id_key,
            case when lake_leads.is_phone_valid then lake_leads.phone_sha256 end as phone_key,
            {" or ".join(differences) or "false"} as has_other_personal_data
        from delivered
        left join matches
            on
                cast(delivered.match_id as varchar) = matches.match_id
                and delivered.product_id = matches.product_id
                and matches.institution_id = $institution
        left join lake_leads
            on
                matches.channel_id = lake_leads.channel_id
                and matches.lead_id = lake_leads.lead_id
        """,
        params={"institution": institution_id},
    ).to_arrow_table()
