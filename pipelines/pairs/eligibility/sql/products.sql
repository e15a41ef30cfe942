-- Products of `catalogue` that may receive leads, numbered by key. Their reference price is the
-- price cap, or the highest price on offer where there is none.

create or replace table products as

select
    cast(row_number() over (order by institution_id, product_id) - 1 as integer) as product_row,
    * exclude (reason),
    coalesce(price_cap, max(apr_max) over (partition by segment, currency)) as reference_apr
from catalogue
where reason is null
order by product_row
