-- What the plan of a day left each product to spend and to take: its quota and its budget.
create or replace temp table product_limits as
select
    institution_id,
    product_id,
    min("limit") filter (where kind = 'quota') as quota,
    min("limit") filter (where kind = 'budget') as budget
from read_parquet($prices, hive_partitioning = false)
where product_id is not null and "column" is null
group by institution_id, product_id
