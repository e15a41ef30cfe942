"""SQL of the closing orders of ingest: the persons and leads that unreadable rows and copies close.

The views are the ones of `make_restrictions`: `files` and the shard's `shard_unreadable`,
`shard_rows`, `shard_dropped` and `shard_closing`.
"""

from expectations import policy
from expectations.contracts import Contract
from pipelines.core import restrictions
from pipelines.ingest.duplicates import normalise_role_sql
from pipelines.ingest.identity import lead_subject_sql

_IS_HASH = "coalesce(regexp_full_match(subject, '[0-9a-fA-F]{64}'), false)"
_IS_LEAD = "coalesce(regexp_full_match(subject, '[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}/\\S{1,64}'), false)"
NAMES_SUBJECT = f"({_IS_HASH} or {_IS_LEAD})"
"""SQL of whether a suppression row names its subject, by its type of subject or by its form."""


def orders_sql(contract: Contract) -> str:
    """Return SQL of the closing orders: a subject each, with the file and line it comes from."""
    parts = {"leads": _LEAD_ORDERS, "suppressions": _SUPPRESSION_ORDERS}.get(contract.feed)
    if contract.withdrawal and parts is not None:
        role = normalise_role_sql(contract.withdrawal.role)
        allowed = ", ".join(f"'{name}'" for name in ("", *policy.consent_roles().undisputed))
        parts = parts.format(is_disputed=f"{role} not in ({allowed})")
    if parts is None:
        names = ("known_on", *restrictions.ORDERS.names)
        return f"select {', '.join(f'null as {name}' for name in names)} where false"
    return f"""
        with orders as ({parts})
        select distinct
            known_on, '{contract.feed}' as feed, source, subject_type, subject, reason,
            institution_id, file, line
        from orders
    """


_SUPPRESSION_ORDERS = f"""
    select
        files.known_on, files.source, subject_types.subject_type,
        case
            when subject_types.subject_type = 'lead' then {lead_subject_sql("subject")}
            else keyed_hash(lower(subject))
        end as subject,
        'unreadable_order' as reason, institution_id, files.file, line
    from (
        select *, case
            when subject_type is not null then [subject_type]
            when {_IS_HASH} then ['id_number', 'phone']
            else ['lead']
        end as subject_types
        from shard_unreadable
    ) as unreadable
    inner join files using (task),
    unnest(unreadable.subject_types) as subject_types (subject_type)
    where {NAMES_SUBJECT}
    union all
    -- the readable orders of a file that is rejected as a whole
    select
        files.known_on, files.source, subject_type, subject, 'unreadable_order', institution_id,
        files.file, line
    from shard_rows as rows
    inner join files using (task)
    where files.rule is not null
"""

_LEAD_ORDERS = """
    select
        files.known_on, files.source, 'lead' as subject_type,
        files.source || '/' || lead_id as subject,
        case
            when is_withdrawn then 'consent_withdrawn'
            when shard_unreadable.rule = 'unknown_column' then 'unmapped_column'
            else 'unreadable_consent'
        end as reason,
        null as institution_id, files.file, line
    from shard_unreadable
    inner join files using (task)
    where lead_id is not null and (is_withdrawn or action = 'suppress_subject')
    union all
    -- the readable withdrawals of a file that is rejected as a whole
    select
        files.known_on, files.source, 'lead', files.source || '/' || lead_id,
        'consent_withdrawn', null, files.file, line
    from shard_rows as rows
    inner join files using (task)
    where files.rule is not null and consent_withdrawn_at is not null
    union all
    -- and its roles that may not consent for a business everywhere
    select
        files.known_on, files.source, 'lead', files.source || '/' || lead_id,
        'consent_role', null, files.file, line
    from shard_rows as rows
    inner join files using (task)
    where files.rule is not null and segment = 'business' and {is_disputed}
    union all
    select
        files.known_on, files.source, 'lead',
        files.source || '/' || lead_id,
        case closing.reason
            when 'narrowed' then 'consent_narrowed'
            when 'role' then 'consent_role'
            when 'owner' then 'owner_disputed'
            else 'consent_withdrawn'
        end,
        null, files.file, line
    from shard_closing as closing
    inner join shard_rows as rows using (row)
    inner join files using (task)
    union all
    -- a file that can't be read, or is cut off, may withdraw any lead that another one brought
    select
        files.known_on, files.source, 'lead', files.source || '/' || lead_id,
        'unreadable_consent', null, min(unread.file), null
    from shard_rows as rows
    anti join shard_dropped as dropped using (row)
    inner join files using (task)
    inner join (
        select source, known_on, file from files where restricts
        union all
        select files.source, files.known_on, files.file
        from files
        inner join shard_unreadable
            on files.task = shard_unreadable.task and files.last_line = shard_unreadable.line
    ) as unread
        on files.source = unread.source
            and files.known_on = unread.known_on
            and files.file <> unread.file
    group by files.known_on, files.source, lead_id
"""
