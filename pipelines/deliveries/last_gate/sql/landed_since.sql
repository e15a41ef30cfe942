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
        ) as scope,
        leads.segment = 'business' as is_business,
        leads.consent_by_role as loaded_role,
        regexp_replace(lower(trim(landed_leads.consent_by_role)), '[\s-]+', '_', 'g') as role
    from gate.claims
    left join gate.leads
        on claims.channel_id = leads.channel_id and claims.lead_id = leads.lead_id
    inner join landed_leads
        on
            claims.channel_id = landed_leads.source
            and claims.lead_id = trim(landed_leads.lead_id)

),

-- the roles that may consent for a business wherever it is
allowed_roles as (

    select role
    from gate.consent_roles
    group by role
    having
        count(distinct jurisdiction)
        = (select count(distinct listed.jurisdiction) from gate.consent_roles as listed)
    -- a lead that states none disputes nothing
    union
    select '' as role

),

closed as (

    select * from ordered
    union
    select
        channel_id,
        lead_id,
        cast(null as varchar) as institution_id,
        'consent_role_not_allowed' as reason
    from copies
    where
        is_business
        and role is not null
        and role not in ('', 'null', 'none', 'nan', '\n', loaded_role)
        and (
            role not in (select role from allowed_roles)
            or loaded_role not in (select role from allowed_roles)
        )
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
