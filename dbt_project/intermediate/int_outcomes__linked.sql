-- One row per outcome, with the lead that it is about: that of the match it names, else the one
-- it names itself. `unlinked_reason` says what is missing; an unlinked outcome counts nowhere.

with outcomes as (

    select * from {{ ref("stg_lake__outcomes") }}

),

matches as (

    select * from {{ ref("stg_published__matches") }}

),

leads as (

    select
        channel_id,
        lead_id,
        business_date
    from {{ ref("stg_lake__leads") }}

),

resolved as (

    select
        outcomes.*,
        coalesce(matches.channel_id, outcomes.channel_id) as linked_channel_id,
        coalesce(matches.lead_id, outcomes.lead_id) as linked_lead_id

    from outcomes
    -- an institution answers its own matches only
    left join matches
        on
            outcomes.match_id = matches.match_id
            and outcomes.institution_id = matches.institution_id

),

linked as (

    select
        resolved.linked_channel_id as channel_id,
        resolved.linked_lead_id as lead_id,
        resolved.institution_id,
        resolved.product_id,
        leads.business_date,
        resolved.event,
        resolved.event_at,
        resolved.recorded_at,
        resolved.known_at,
        {{ platform_date("resolved.known_at") }} as known_on,
        resolved.amount,
        resolved.apr,
        resolved.reason,
        case
            when leads.lead_id is not null then null
            when resolved.linked_channel_id is not null and resolved.linked_lead_id is not null
                then 'unknown_lead'
            when resolved.match_id is not null then 'unknown_match'
            else 'names_no_lead'
        end as unlinked_reason

    from resolved
    left join leads
        on
            resolved.linked_channel_id = leads.channel_id
            and resolved.linked_lead_id = leads.lead_id

)

select * from linked
