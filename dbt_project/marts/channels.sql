-- One row per channel, as of the start of the business date.

select
    channel_id,
    leads_30d,
    decisions,
    approval_rate,
    funded_rate,
    cost_per_lead,
    currency

from {{ ref("feat_channels") }}
where business_date = {{ run_day() }}
