-- The mean of the highest annual cost of today's open products, and the mean of the same products
-- on the days before. A product without earlier days is left out, so that a pause or a new product
-- does not look like another price.

with products as (

    select
        institution_id,
        product_id,
        avg(cast(apr_max as decimal(18, 6))) filter (where day_on = $today) as apr_now,
        avg(cast(apr_max as decimal(18, 6))) filter (where day_on < $today) as apr_before,
        count(*) filter (where day_on < $today) as days_before
    from catalogue
    group by institution_id, product_id
    having bool_or(is_open and day_on = $today)

)

select
    cast(avg(cast(apr_now as decimal(18, 6))) as double) as apr_now,
    cast(avg(cast(apr_before as decimal(18, 6))) as double) as apr_before,
    count(*) as products,
    sum(days_before) as products_before
from products
where apr_before is not null
