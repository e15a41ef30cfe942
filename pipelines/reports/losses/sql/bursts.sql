-- Channels of which device_burst and phone_burst exclude more than $max_share of the day's leads.

select
    channel_id,
    count(*) as leads,
    count(*) filter (exclusion_detail in ('device_burst', 'phone_burst')) as excluded,
    string_agg(distinct exclusion_detail, ', ' order by exclusion_detail)
    filter (exclusion_detail in ('device_burst', 'phone_burst')) as details
from read_parquet($leads)
group by channel_id
having excluded >= $min_leads and excluded > $max_share * count(*)
order by channel_id
