-- One row per recent business lead that was consented for by a role that may not, or that nobody
-- knows. The jurisdiction is the first part of the region.

with leads as (

    select
        channel_id,
        lead_id,
        consent_by_role,
        upper(split_part(trim(coalesce(region, '')), '-', 1)) as jurisdiction

    from {{ ref("int_leads__recent") }}
    where segment = 'business'

),

roles as (

    select * from {{ ref("stg_policy__consent_roles") }}

),

jurisdictions as (

    select distinct jurisdiction from roles
    where jurisdiction <> 'default'

),

judged as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.consent_by_role,
        roles.role,
        roles.may_consent

    from leads
    left join jurisdictions on leads.jurisdiction = jurisdictions.jurisdiction
    left join roles
        on
            coalesce(jurisdictions.jurisdiction, 'default') = roles.jurisdiction
            and leads.consent_by_role = roles.role

)

select
    channel_id,
    lead_id,
    case
        when role is null then 'consent_role_unknown'
        when role = '' then 'consent_role_missing'
        else 'consent_role_not_allowed'
    end as detail

from judged
where not coalesce(may_consent, false)
