-- Cost of a lead by channel, in the base currency.

create or replace table channel_costs as

select
    channels.channel_id,
    channels.cost_per_lead * exchange_rates.exchange_rate as cost_per_lead
from read_parquet($channels) as channels
left join exchange_rates on channels.currency = exchange_rates.currency
