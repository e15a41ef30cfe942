-- Cost per lead of each channel on each day of the window, over the 30 days known before it.

select
    channel_id,
    "date" as day_on,
    cost_per_lead,
    coalesce(leads_30d, 0) as leads
from read_parquet($channels, hive_partitioning = true)
where cost_per_lead is not null
order by channel_id, day_on
