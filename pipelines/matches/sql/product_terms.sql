-- Price, quota and budget of the day's products. A quota beyond any day counts as all leads.
--
-- What a month has left is spread evenly over its days that are left, so that neither its quota nor
-- its budget is used up in the first days; what a day leaves over, the next days may use.
with

day_limits as (
    select
        *,
        case
            when monthly_quota is not null
                then greatest(0, monthly_quota - month_leads) / (days_to_month_end + 1)
        end as paced_quota,
        case
            when monthly_budget is not null
                then greatest(0, monthly_budget - month_spend) / (days_to_month_end + 1)
        end as paced_budget
    from products
)

select
    institution_id,
    product_id,
    price,
    price_model = 'cpl' as is_per_lead,
    least(
        daily_quota,
        greatest(1000000, (select count(*) from leads)),
        cast(ceil(paced_quota) as bigint)
    ) as quota,
    cast(coalesce(least(daily_budget, paced_budget), 'nan') as double) as budget
from day_limits
order by product_row
