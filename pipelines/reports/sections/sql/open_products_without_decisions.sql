-- Open products without a single decision of their lender on record.

select count(*) as products
from read_parquet($products)
where is_open and coalesce(product_decisions, 0) = 0
