-- One row per lead of the business date: its eligibility for matching, and its features.

with leads as (

    select * from {{ ref("int_leads__in_scope") }}
    where business_date = {{ run_day() }}

),

screened as (

    select * from {{ ref("int_leads__screened") }}

),

canonical as (

    select * from {{ ref("int_leads__canonical") }}

),

features as (

    select * from {{ ref("lead_features") }}

),

channels_of_a_person as (

    select
        person_key,
        {{ sorted_list("channel_id") }} as channels

    from screened
    where business_date = {{ run_day() }}
    group by person_key

),

described as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        leads.captured_at,
        leads.segment,
        screened.person_key,
        case when canonical.is_canonical then null else coalesce(screened.stage, 'duplicate') end
            as exclusion_stage,
        case when canonical.is_canonical then null else coalesce(screened.detail, 'same_person') end
            as exclusion_detail,
        case when not canonical.is_canonical then canonical.canonical_channel_id end
            as canonical_channel_id,
        case when not canonical.is_canonical then canonical.canonical_lead_id end
            as canonical_lead_id,
        case
            when canonical.is_canonical then channels_of_a_person.channels else {{ empty_list() }}
        end as channels,
        leads.consent_scope,
        screened.suppressed_institutions,
        leads.matched_amount,
        features.supply_chain_code,
        {{- from_alias("features", lead_features()) }}

    from leads
    inner join screened
        on leads.channel_id = screened.channel_id and leads.lead_id = screened.lead_id
    left join canonical
        on leads.channel_id = canonical.channel_id and leads.lead_id = canonical.lead_id
    inner join channels_of_a_person
        on screened.person_key = channels_of_a_person.person_key
    inner join features
        on leads.channel_id = features.channel_id and leads.lead_id = features.lead_id

)

select * from described
