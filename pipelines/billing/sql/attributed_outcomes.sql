-- One row per outcome that counts, with the match that it is about: the last one delivered until
-- the event, else the first one. Tables: `outcomes`, `delivered` (with its `date`).

create or replace temp view attributed_outcomes as

with pairs as (

    select distinct
        match_id,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        "date" as delivered_on
    from delivered

)

select
    pairs.match_id,
    pairs.channel_id,
    pairs.lead_id,
    pairs.institution_id,
    pairs.product_id,
    pairs.delivered_on,
    outcomes.event,
    outcomes.event_at,
    outcomes.recorded_at,
    outcomes.known_at,
    cast(timezone(getvariable('zone'), outcomes.known_at) as date) as known_on,
    outcomes.amount,
    outcomes.reason
from outcomes
inner join pairs
    on
        outcomes.channel_id = pairs.channel_id
        and outcomes.lead_id = pairs.lead_id
        and outcomes.institution_id = pairs.institution_id
        and outcomes.product_id = pairs.product_id
qualify
    row_number() over (
        partition by
            outcomes.channel_id, outcomes.lead_id, outcomes.institution_id, outcomes.product_id,
            outcomes.event, outcomes.event_at, outcomes.recorded_at, outcomes.reason
        order by
            pairs.delivered_on
            <= cast(timezone(getvariable('zone'), outcomes.event_at) as date) desc,
            case
                when
                    pairs.delivered_on
                    <= cast(timezone(getvariable('zone'), outcomes.event_at) as date)
                    then -epoch(pairs.delivered_on)
                else epoch(pairs.delivered_on)
            end,
            outcomes.known_at,
            pairs.match_id asc
    ) = 1
