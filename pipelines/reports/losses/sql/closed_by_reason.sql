-- Closed products by reason, with their institutions.

select
    reason,
    count(*) as products,
    list(distinct institution_id order by institution_id) as institutions
from read_parquet($closed_products, hive_partitioning = false)
group by reason
order by products desc, reason asc
