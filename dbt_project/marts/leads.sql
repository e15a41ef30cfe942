-- One row per lead of the business date: whether it may be matched, and what is known of it.

with leads as (

    select * from {{ ref("int_leads__in_scope") }}
    where business_date = {{ run_day() }}

),

judged as (

    select * from {{ ref("int_leads__judged") }}

),

standing as (

    select * from {{ ref("int_leads__standing") }}

),

features as (

    select * from {{ ref("lead_features") }}

),

channels_of_a_person as (

    select
        person_key,
        {{ sorted_list("channel_id") }} as channels

    from leads
    group by person_key

),

described as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        leads.captured_at,
        leads.segment,
        leads.person_key,
        case when standing.is_standing then null else coalesce(judged.stage, 'duplicate') end
            as set_aside_stage,
        case when standing.is_standing then null else coalesce(judged.detail, 'same_person') end
            as set_aside_detail,
        case when not standing.is_standing then standing.same_as_channel_id end
            as same_as_channel_id,
        case when not standing.is_standing then standing.same_as_lead_id end
            as same_as_lead_id,
        case
            when standing.is_standing then channels_of_a_person.channels else {{ empty_list() }}
        end as channels,
        leads.consent_scope,
        judged.suppressed_institutions,
        {{- from_alias("features", lead_features()) }}

    from leads
    inner join judged
        on leads.channel_id = judged.channel_id and leads.lead_id = judged.lead_id
    left join standing
        on leads.channel_id = standing.channel_id and leads.lead_id = standing.lead_id
    inner join channels_of_a_person
        on leads.person_key = channels_of_a_person.person_key
    inner join features
        on leads.channel_id = features.channel_id and leads.lead_id = features.lead_id

)

select * from described
