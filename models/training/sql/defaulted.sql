-- The state of each loan at $known_until, from which `loan_maturity.label_loans` makes labels and
-- weights. A loan counts from its second month: in its first it has no information.
with funded as (
    select
        first_events.channel_id,
        first_events.lead_id,
        first_events.institution_id,
        first_events.product_id,
        outcome_rules.horizon_months,
        first_events.known_at as funded_at
    from first_events
    inner join pairs
        on
            first_events.channel_id = pairs.channel_id
            and first_events.lead_id = pairs.lead_id
            and first_events.institution_id = pairs.institution_id
            and first_events.product_id = pairs.product_id
    inner join outcome_rules on pairs.segment = outcome_rules.segment
    where first_events.event = 'funded'
),

arrears as (
    select
        channel_id,
        lead_id,
        institution_id,
        product_id,
        min(event_at) filter (event = 'overdue_30') as overdue_30_at,
        min(event_at) filter (event = 'overdue_60') as overdue_60_at,
        min(event_at) filter (event = 'overdue_90') as overdue_90_at
    from first_events
    where event_at < $known_until
    group by channel_id, lead_id, institution_id, product_id
)

select
    funded.channel_id,
    funded.lead_id,
    funded.institution_id,
    funded.product_id,
    date_diff(
        'day', funded.funded_at, funded.funded_at + to_months(funded.horizon_months)
    ) as horizon_days,
    date_diff('second', funded.funded_at, $known_until) / 86400.0 as observed_days,
    date_diff('second', funded.funded_at, arrears.overdue_30_at) / 86400.0 as overdue_30_after,
    date_diff('second', funded.funded_at, arrears.overdue_60_at) / 86400.0 as overdue_60_after,
    date_diff('second', funded.funded_at, arrears.overdue_90_at) / 86400.0 as overdue_90_after,
    funded.funded_at + to_days(30 + $maturity_days) as label_known_at
from funded
left join arrears
    on
        funded.channel_id = arrears.channel_id
        and funded.lead_id = arrears.lead_id
        and funded.institution_id = arrears.institution_id
        and funded.product_id = arrears.product_id
