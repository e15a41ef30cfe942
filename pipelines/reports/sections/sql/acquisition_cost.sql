-- Acquisition cost of each month of capture by `$by` (channel_id or institution_id) and currency.
-- Spend on leads that no institution received belongs to channels alone.

with costs as (

    select
        *,
        case $by when 'channel_id' then channel_id else institution_id end as group_name
    from read_parquet($costs, hive_partitioning = false)

)

select
    group_name,
    strftime(cohort, '%Y-%m') as month_of_capture,
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
where group_name is not null
group by group_name, cohort, currency
order by cohort desc, spend desc nulls last, group_name asc, currency asc
