-- One row per channel, as of the start of the business date.

with channels as (

    select * from {{ ref("feat_channels") }}
    where business_date = {{ run_day() }}

),

costs as (

    select * from {{ ref("feat_channel_costs") }}

)

select
    channels.channel_id,
    channels.leads_30d,
    channels.decisions,
    channels.approval_rate,
    channels.funded_rate,
    costs.cost_per_lead,
    costs.currency

from channels
left join costs
    on
        channels.channel_id = costs.channel_id
        and channels.business_date = costs.business_date
