-- Channels that sent leads in the 30 days before the day and none on the day.

with active as (

    select channel_id
    from read_parquet($channels)
    where leads_30d > 0

),

sent as (

    select distinct channel_id
    from read_parquet($leads)

)

select active.channel_id
from active
left join sent on active.channel_id = sent.channel_id
where sent.channel_id is null
order by active.channel_id
