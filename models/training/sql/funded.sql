-- Label `funded`: an approval was funded within the take-up period of the policy.
with approved as (
    select
        first_events.channel_id,
        first_events.lead_id,
        first_events.institution_id,
        first_events.product_id,
        first_events.known_at + to_days(outcome_rules.take_up_days) as matured_at
    from first_events
    inner join pairs
        on
            first_events.channel_id = pairs.channel_id
            and first_events.lead_id = pairs.lead_id
            and first_events.institution_id = pairs.institution_id
            and first_events.product_id = pairs.product_id
    inner join outcome_rules on pairs.segment = outcome_rules.segment
    where first_events.event = 'approved'
),

funded as (
    select * from first_events
    where event = 'funded'
)

select
    approved.channel_id,
    approved.lead_id,
    approved.institution_id,
    approved.product_id,
    cast(coalesce(funded.event_at <= approved.matured_at, false) as double) as label,
    greatest(approved.matured_at, funded.known_at) as label_known_at
from approved
left join funded
    on
        approved.channel_id = funded.channel_id
        and approved.lead_id = funded.lead_id
        and approved.institution_id = funded.institution_id
        and approved.product_id = funded.product_id
