-- Exploration draws at products with few decisions on record.

with explored as (

    select
        institution_id,
        product_id
    from read_parquet($matches, hive_partitioning = false)
    where explored

),

new_products as (

    select
        institution_id,
        product_id
    from read_parquet($products, hive_partitioning = false)
    where coalesce(product_decisions, 0) < $few_decisions

)

select count(*) as matches
from explored
inner join new_products
    on
        explored.institution_id = new_products.institution_id
        and explored.product_id = new_products.product_id
