-- Unmatched leads by the last stage they reached and the detail, most leads first.

select
    stage,
    count(*) as leads,
    coalesce(detail, '') as detail
from read_parquet($unmatched)
group by stage, detail
order by leads desc, stage asc, detail asc
