-- Loaded leads of each channel and what they were matched with, most leads first.

with loaded as (

    select
        channel_id,
        count(*) as leads
    from read_parquet($leads)
    group by channel_id

),

matched as (

    select
        channel_id,
        count(distinct lead_id) as leads,
        count(*) as matches,
        sum(cast(expected_value as decimal(28, 6))) as expected_value
    from read_parquet($matches)
    group by channel_id

),

costs as (

    select
        channel_id,
        cost_per_lead,
        currency
    from read_parquet($channels)

)

select
    loaded.channel_id,
    loaded.leads,
    coalesce(matched.leads, 0) as matched_leads,
    coalesce(matched.matches, 0) as matches,
    cast(coalesce(matched.expected_value, 0) as double) as expected_value,
    costs.cost_per_lead,
    costs.currency
from loaded
left join matched on loaded.channel_id = matched.channel_id
left join costs on loaded.channel_id = costs.channel_id
order by loaded.leads desc, loaded.channel_id asc
