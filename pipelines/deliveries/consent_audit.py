"""Consent before value, once more: judge the bytes that an institution is about to receive.

It trusts nothing that the matching concluded. Whoever is named in the file is looked up in the
lake again: consent that covers this institution, not withdrawn, not too old; no order against it;
and the person's own columns, so that no row can speak of two people.
"""

from datetime import date, timedelta

import duckdb
import pyarrow as pa

from expectations import policy
from expectations.contracts import load
from pipelines.core.database import create_known_view
from pipelines.core.settings import Settings

PERSONAL = tuple(column.name for column in load("leads").columns if column.personal)


def load_evidence(connection: duckdb.DuckDBPyConnection, settings: Settings, day: date) -> None:
    """Create the tables `lake_leads` (of table `matches`) and `orders_against` them.

    Both as known by the end of `day`; made once, since each institution's file is judged by them.
    """
    connection.execute(
        """
        create or replace table lake_leads as
        from read_parquet($leads, hive_partitioning = false)
        where (channel_id, lead_id) in (select (channel_id, lead_id) from matches)
        """,
        {"leads": str(settings.day_folder(settings.lake / "leads", day) / "leads.parquet")},
    )
    create_known_view(connection, settings, "suppressions", day)
    connection.execute(_ORDERS_AGAINST)


def violations(
    connection: duckdb.DuckDBPyConnection,
    delivered: pa.Table,
    institution_id: str,
    settings: Settings,
    day: date,
) -> dict[str, int]:
    """Return what is wrong with the rows of a lead file: kind of violation -> rows.

    Args:
        connection: With the views of `load_evidence` and the table `matches`.
        delivered: The file's content, with `match_id` and `product_id`.
        institution_id: Who is about to receive it.
        settings: Where the platform's time zone is.
        day: The business date of the matches.
    """
    consent = policy.consent(day)
    connection.register("delivered", delivered)
    found = connection.execute(
        _judged_sql([name for name in PERSONAL if name in delivered.column_names]),
        {
            "institution": institution_id,
            "every_institution": consent.every_institution,
            "oldest": settings.day_start(day - timedelta(days=consent.longest_days)),
            "end": settings.day_start(day + timedelta(days=1)),
        },
    ).fetchall()
    connection.unregister("delivered")
    return dict(found)


def _judged_sql(personal: list[str]) -> str:
    mixed_up = " or ".join(
        f"cast(delivered.{name} as varchar) is distinct from cast(lead.{name} as varchar)"
        for name in personal
    )
    return f"""
        select violation, count(*)
        from (
            select
                case
                    when matches.match_id is null then 'not matched with it'
                    when lead.lead_id is null then 'not a lead of the day'
                    when not coalesce(
                        list_contains(lead.consent_scope, $every_institution)
                        or list_contains(lead.consent_scope, $institution), false
                    ) then 'consent does not cover it'
                    when lead.consent_withdrawn_at is not null then 'consent withdrawn'
                    when not coalesce(lead.consent_at >= $oldest and lead.consent_at < $end, false)
                    then 'consent expired or not given yet'
                    when suppressed.lead_id is not null then 'suppressed'
                    when {mixed_up or "false"} then 'columns of another person'
                end as violation
            from delivered
            left join matches
                on
                    cast(delivered.match_id as varchar) = matches.match_id
                    and delivered.product_id = matches.product_id
                    and matches.institution_id = $institution
            left join lake_leads as lead
                on matches.channel_id = lead.channel_id and matches.lead_id = lead.lead_id
            left join ({_SUPPRESSED}) as suppressed
                on lead.channel_id = suppressed.channel_id and lead.lead_id = suppressed.lead_id
        )
        where violation is not null
        group by violation
        order by violation
    """


_SUPPRESSED = """
    select distinct channel_id, lead_id
    from orders_against
    where coalesce(institution_id, $institution) = $institution and effective_at < $end
"""

_ORDERS_AGAINST = """
    create or replace table orders_against as
    select
        subjects.channel_id, subjects.lead_id,
        suppressions.institution_id, suppressions.effective_at
    from (
        select channel_id, lead_id, 'id_number' as subject_type, id_number_sha256 as subject
        from lake_leads
        union all
        select channel_id, lead_id, 'phone', phone_sha256 from lake_leads
        union all
        select channel_id, lead_id, 'lead', channel_id || '/' || lead_id from lake_leads
    ) as subjects
    join (
        -- a hash may be written in capitals
        select * exclude (subject), unnest(list_distinct([subject, lower(subject)])) as subject
        from suppressions
    ) as suppressions using (subject_type, subject)
"""
