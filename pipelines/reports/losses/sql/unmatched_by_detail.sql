-- The three details of unmatched leads that most leads have.

select
    coalesce(detail, stage) as unmatched_detail,
    count(*) as leads
from read_parquet($unmatched, hive_partitioning = false)
group by unmatched_detail
order by leads desc, unmatched_detail asc
limit 3
