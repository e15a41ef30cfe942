-- Every loaded lead of a day with its cost and income in the base currency, ordered by key.
--
-- A lead costs its channel's spend of the day divided by the channel's leads, matched or not.
-- While the spend is not reported, it costs what the channel's leads cost before.

with spend_reports as (

    select
        channel_id,
        currency,
        spend
    from channel_spend
    where "date" = $day
    qualify row_number() over (
        partition by channel_id, campaign_id, currency
        order by known_at desc, spend asc
    ) = 1

),

channel_costs as (

    select
        spend_reports.channel_id,
        sum(spend_reports.spend * currency_rates.exchange_rate) as spend
    from spend_reports
    inner join currency_rates on spend_reports.currency = currency_rates.currency
    group by spend_reports.channel_id

),

earlier_channels as (

    select
        channel_id,
        cost_per_lead,
        currency
    from read_parquet($channels)

),

earlier_costs as (

    select
        earlier_channels.channel_id,
        earlier_channels.cost_per_lead * currency_rates.exchange_rate as cost_per_lead
    from earlier_channels
    left join currency_rates on earlier_channels.currency = currency_rates.currency

),

leads as (

    select
        channel_id,
        lead_id,
        segment,
        region,
        currency,
        income_monthly
    from read_parquet($leads, hive_partitioning = false)

)

select
    row_number() over (order by leads.channel_id, leads.lead_id) - 1 as lead_row,
    leads.channel_id,
    leads.lead_id,
    leads.segment,
    leads.region,
    leads.income_monthly * currency_rates.exchange_rate as income,
    coalesce(
        channel_costs.spend / count(*) over (partition by leads.channel_id),
        earlier_costs.cost_per_lead,
        0
    ) as lead_cost
from leads
left join channel_costs on leads.channel_id = channel_costs.channel_id
left join earlier_costs on leads.channel_id = earlier_costs.channel_id
left join currency_rates on leads.currency = currency_rates.currency
order by lead_row
