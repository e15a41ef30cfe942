-- Matches of each institution with a match or an open product, most matches first.
--
-- Money and probabilities are summed as decimals: a sum of doubles depends on the order of
-- addition, and with it on the number of threads.

with matched as (

    select
        institution_id,
        count(*) as matches,
        count(distinct product_id) as products,
        sum(cast(expected_value as decimal(28, 6))) as expected_value,
        sum(cast(expected_cost as decimal(28, 6))) as expected_cost,
        sum(cast(p_approve as decimal(28, 9))) / count(*) as p_approve,
        sum(cast(pd as decimal(28, 9))) / count(*) as pd
    from read_parquet($matches)
    group by institution_id

),

quotas as (

    select
        institution_id,
        cast(sum(least(daily_quota, 10000000)) as bigint) as quota
    from read_parquet($products)
    where is_open
    group by institution_id

)

select
    coalesce(matched.institution_id, quotas.institution_id) as institution_id,
    coalesce(matched.products, 0) as products,
    coalesce(matched.matches, 0) as matches,
    coalesce(quotas.quota, 0) as quota,
    cast(coalesce(matched.expected_value, 0) as double) as expected_value,
    cast(coalesce(matched.expected_cost, 0) as double) as expected_cost,
    round(cast(matched.p_approve as double), 6) as p_approve,
    round(cast(matched.pd as double), 6) as pd
from matched
full join quotas on matched.institution_id = quotas.institution_id
order by coalesce(matched.matches, 0) desc, institution_id asc
