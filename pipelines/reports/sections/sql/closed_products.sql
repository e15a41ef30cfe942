-- Products that took no lead on the day, by reason.

select
    reason,
    count(*) as products
from read_parquet($closed_products)
group by reason
order by reason, products
