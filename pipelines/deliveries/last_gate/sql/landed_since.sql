-- Leads of the claims that files close which landed and no run has read: by an order against their
-- person, by a copy that withdraws or narrows their consent, or, where a file can't be read, all.

with orders as (

    select
        trim(subject_type) as subject_type,
        case
            when trim(subject_type) = 'lead'
                then concat(
                    lower(split_part(trim(subject), '/', 1)),
                    substr(trim(subject), strpos(trim(subject), '/'))
                )
            else keyed_hash(lower(trim(subject)))
        end as subject,
        case
            when lower(coalesce(trim(institution_id), '')) in ('', 'all', '*') then null
            else lower(trim(institution_id))
        end as institution_id
    from landed_suppressions
    where
        subject is not null
        and coalesce(try_cast(effective_at as timestamptz) <= $known_end, true)

),

ordered as (

    select
        subjects.channel_id,
        subjects.lead_id,
        orders.institution_id,
        'suppressed' as reason
    from gate.subjects
    inner join orders
        on
            subjects.subject_type = orders.subject_type
            and subjects.subject = orders.subject

),

copies as (

    select
        claims.channel_id,
        claims.lead_id,
        claims.institution_id,
        case
            when
                trim(landed_leads.consent_withdrawn_at)
                in ('', 'NULL', 'null', 'None', '\N', 'nan')
                then null
            else trim(landed_leads.consent_withdrawn_at)
        end as withdrawn_at,
        list_filter(
            string_split_regex(coalesce(landed_leads.consent_scope, ''), '[|,\[\]"\s]+'),
            lambda name: name <> ''
        ) as scope
    from gate.claims
    inner join landed_leads
        on
            claims.channel_id = landed_leads.source
            and claims.lead_id = trim(landed_leads.lead_id)

),

closed as (

    select * from ordered
    union
    select
        channel_id,
        lead_id,
        cast(null as varchar) as institution_id,
        'consent_withdrawn' as reason
    from copies
    where
        withdrawn_at is not null
        and coalesce(try_cast(withdrawn_at as timestamptz) <= $known_end, true)
    union
    select
        channel_id,
        lead_id,
        institution_id,
        'consent_narrowed' as reason
    from copies
    where
        len(scope) > 0
        and not list_contains(scope, 'all')
        and not list_contains(scope, institution_id)
    union
    select
        channel_id,
        lead_id,
        cast(null as varchar) as institution_id,
        'unreadable_since' as reason
    from gate.claims
    where $has_unreadable_orders or list_contains($unreadable_channels, channel_id)

)

select distinct
    channel_id,
    lead_id,
    institution_id,
    reason
from closed
order by channel_id, lead_id, institution_id, reason
