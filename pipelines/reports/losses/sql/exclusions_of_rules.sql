-- The texts that products exclude by a rule, in the catalogues of the day.

select distinct
    institution_id,
    product_id,
    attribute,
    value
from read_parquet($product_rules, hive_partitioning = false)
where op = 'not_in'
order by institution_id, product_id, attribute, value
