-- Business leads by channel and contradiction, with the channel's business leads, of the date.

with businesses as (

    select
        channel_id,
        count(*) as leads
    from read_parquet($leads, hive_partitioning = false)
    where segment = 'business'
    group by channel_id

)

select
    found.channel_id,
    found.contradiction,
    count(*) as found_leads,
    businesses.leads
from read_parquet($contradictions, hive_partitioning = false) as found
inner join businesses on found.channel_id = businesses.channel_id
group by found.channel_id, found.contradiction, businesses.leads
order by found_leads desc, found.channel_id asc, found.contradiction asc
