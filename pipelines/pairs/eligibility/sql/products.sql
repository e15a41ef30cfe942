-- Products of `catalogue` that may receive leads, numbered by key. Their reference price is the
-- price cap, or the highest price on offer where there is none. A quota above `$max_quota` is one
-- that no day reaches ("no limit"): it counts as that, so that every sum of quotas is exact.

create or replace table products as

select
    cast(row_number() over (order by institution_id, product_id) - 1 as integer) as product_row,
    * exclude (reason) replace (least(daily_quota, $max_quota) as daily_quota),
    coalesce(price_cap, max(apr_max) over (partition by segment, currency)) as reference_apr
from catalogue
where reason is null
order by product_row
