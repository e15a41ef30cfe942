-- Products of each day that were there the day before: how many changed each of their terms, and
-- of how many institutions these are.

with compared as (

    select
        day_on,
        institution_id,
        row(price_model, price) as price,
        lag(row(price_model, price)) over by_product as price_before,
        row(apr_min, apr_max) as annual_cost,
        lag(row(apr_min, apr_max)) over by_product as annual_cost_before,
        row(daily_quota, daily_budget) as quota,
        lag(row(daily_quota, daily_budget)) over by_product as quota_before,
        rules,
        lag(rules) over by_product as rules_before,
        is_open,
        lag(is_open) over by_product as is_open_before,
        row_number() over by_product > 1 as was_there
    from catalogue
    window by_product as (partition by institution_id, product_id order by day_on)

)

select
    day_on,
    count(*) as products,
    count(*) filter (where price is distinct from price_before) as price,
    count(distinct institution_id) filter (
        where price is distinct from price_before
    ) as price_institutions,
    count(*) filter (where annual_cost is distinct from annual_cost_before) as annual_cost,
    count(distinct institution_id) filter (
        where annual_cost is distinct from annual_cost_before
    ) as annual_cost_institutions,
    count(*) filter (where quota is distinct from quota_before) as quota,
    count(distinct institution_id) filter (
        where quota is distinct from quota_before
    ) as quota_institutions,
    count(*) filter (where rules is distinct from rules_before) as rules,
    count(distinct institution_id) filter (
        where rules is distinct from rules_before
    ) as rules_institutions,
    count(*) filter (where is_open is distinct from is_open_before) as status,
    count(distinct institution_id) filter (
        where is_open is distinct from is_open_before
    ) as status_institutions
from compared
where was_there
group by day_on
order by day_on
