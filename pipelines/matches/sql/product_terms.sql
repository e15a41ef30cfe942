-- Price, quota and budget of the day's products.
select
    institution_id,
    product_id,
    price,
    price_model = 'cpl' as is_per_lead,
    daily_quota as quota,
    cast(coalesce(daily_budget, 'nan') as double) as budget
from products
order by product_row
