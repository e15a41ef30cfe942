-- Leads of the day in a currency without an exchange rate, by channel.

select
    channel_id,
    currency,
    count(*) as leads
from read_parquet($leads, hive_partitioning = false)
where not list_contains($known, currency)
group by channel_id, currency
having count(*) >= $min_leads
order by channel_id, currency
