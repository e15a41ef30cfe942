-- The pairs of the plan, before exploration.
create or replace table planned as
select
    pairs.*,
    product_prices.price_of_quota,
    product_prices.price_of_budget
from pairs
inner join planned_rows using (row)
inner join products using (institution_id, product_id)
inner join product_prices using (product_row)
