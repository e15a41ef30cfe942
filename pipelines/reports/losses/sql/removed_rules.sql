-- Open products that had a rule on an attribute the day before and have none on it now.

with open_products as (

    select
        institution_id,
        product_id
    from read_parquet($products, hive_partitioning = false)
    where is_open

)

select distinct
    earlier.institution_id,
    earlier.product_id,
    earlier.attribute
from read_parquet($rules_before, hive_partitioning = false) as earlier
inner join open_products
    on
        earlier.institution_id = open_products.institution_id
        and earlier.product_id = open_products.product_id
anti join read_parquet($rules_now, hive_partitioning = false) as later
    on
        earlier.institution_id = later.institution_id
        and earlier.product_id = later.product_id
        and earlier.attribute = later.attribute
order by all
