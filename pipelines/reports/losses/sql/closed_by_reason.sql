-- Closed products by reason, as INSTITUTION/PRODUCT.

select
    reason,
    list(institution_id || '/' || product_id order by institution_id, product_id) as products
from read_parquet($closed_products, hive_partitioning = false)
group by reason
order by count(*) desc, reason asc
