-- Price, quota and budget of the day's products. A quota beyond any day counts as all leads.
select
    institution_id,
    product_id,
    price,
    price_model = 'cpl' as is_per_lead,
    least(daily_quota, greatest(1000000, (select count(*) from leads))) as quota,
    cast(coalesce(daily_budget, 'nan') as double) as budget
from products
order by product_row
