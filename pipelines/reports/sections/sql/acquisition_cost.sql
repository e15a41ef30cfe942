-- Acquisition cost of each month of capture by `$by` (month, channel, campaign, institution or
-- product) and currency; of `$cohort` (YYYY-MM) alone if it is given. Spend on leads that no
-- institution received belongs to months, channels and campaigns alone.

with costs as (

    select
        *,
        strftime(cohort, '%Y-%m') as month_of_capture,
        case $by
            when 'month' then strftime(cohort, '%Y-%m')
            when 'channel' then channel_id
            when 'campaign' then channel_id || '/' || coalesce(campaign_id, '')
            when 'institution' then institution_id
            when 'product' then institution_id || '/' || product_id
        end as group_name
    from read_parquet($costs, hive_partitioning = false)

)

select
    group_name,
    month_of_capture,
    sum(lead_share) as leads,
    cast(sum(delivered) as bigint) as delivered,
    cast(sum(approved) as bigint) as approved,
    cast(sum(funded) as bigint) as funded,
    sum(spend) as spend,
    sum(spend) / nullif(sum(lead_share), 0) as cost_per_lead,
    sum(spend) / nullif(sum(approved), 0) as cost_per_approval,
    sum(spend) / nullif(sum(funded), 0) as cost_per_funded,
    case
        when count(*) filter (where funded > 0 and share_of_yield is null) = 0
            then sum(spend) / nullif(sum(annual_yield), 0)
    end as share_of_yield,
    currency
from costs
where group_name is not null and month_of_capture = coalesce($cohort, month_of_capture)
group by group_name, month_of_capture, currency
order by month_of_capture desc, spend desc nulls last, group_name asc, currency asc
