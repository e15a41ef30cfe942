-- The pairs of the plan, before exploration, with their value after shadow prices.
create or replace table planned as
select
    pairs.*,
    product_prices.product_row,
    value_before_quota(pairs, product_prices) as value_before_quota,
    value_before_quota(pairs, product_prices) - product_prices.price_of_quota as net_value,
    pairs.institution_margin - pairs.revenue as result
from pairs
inner join planned_rows using (row)
inner join products using (institution_id, product_id)
inner join product_prices using (product_row)
