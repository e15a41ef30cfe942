-- One row per recent lead, with the reason that excludes it, if any. The most serious reason is
-- named: a suppression, then missing consent, then doubtful identity.

{% set longest = var("consent_longest_days") | int %}

with leads as (

    select * from {{ ref("int_leads__recent") }}

),

suppressed as (

    select * from {{ ref("int_leads__suppressed") }}

),

withdrawn as (

    select * from {{ ref("int_leads__withdrawn") }}

),

unproven as (

    select * from {{ ref("int_leads__unproven") }}

),

unauthorised as (

    select * from {{ ref("int_leads__unauthorised") }}

),

crowded as (

    select * from {{ ref("int_leads__contact_bursts") }}

),

detailed as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        leads.captured_at,
        leads.person_key,
        suppressed.reason as suppressed_detail,
        case
            when
                withdrawn.lead_id is not null or leads.consent_withdrawn_at is not null
                then 'withdrawn'
            when
                leads.consent_at
                < {{ day_start(add_days("leads.business_date", - longest)) }}
                then 'consent_expired'
            when leads.consent_at >= {{ day_start(add_days("leads.business_date", 1)) }}
                then 'not_given_yet'
            else coalesce(unauthorised.detail, unproven.detail)
        end as consent_detail,
        case
            when not leads.is_id_valid then 'id_number_invalid'
            when not leads.is_phone_valid then 'phone_invalid'
            when leads.segment = 'business' and not leads.is_owner_id_valid
                then 'owner_number_invalid'
            else crowded.detail
        end as identity_detail,
        coalesce(suppressed.institutions, {{ empty_list() }}) as suppressed_institutions

    from leads
    left join suppressed
        on leads.channel_id = suppressed.channel_id and leads.lead_id = suppressed.lead_id
    left join withdrawn
        on leads.channel_id = withdrawn.channel_id and leads.lead_id = withdrawn.lead_id
    left join unproven
        on leads.channel_id = unproven.channel_id and leads.lead_id = unproven.lead_id
    left join unauthorised
        on
            leads.channel_id = unauthorised.channel_id
            and leads.lead_id = unauthorised.lead_id
    left join crowded
        on leads.channel_id = crowded.channel_id and leads.lead_id = crowded.lead_id

),

screened as (

    select
        channel_id,
        lead_id,
        business_date,
        captured_at,
        person_key,
        case
            when suppressed_detail is not null then 'suppressed'
            when consent_detail is not null then 'consent'
            when identity_detail is not null then 'identity'
        end as stage,
        coalesce(suppressed_detail, consent_detail, identity_detail) as detail,
        suppressed_institutions

    from detailed

)

select * from screened
