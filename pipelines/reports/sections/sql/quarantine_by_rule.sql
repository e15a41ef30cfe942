-- Quarantined records of one feed by file and rule; no value of any row.

select
    source,
    file,
    "column",
    rule,
    severity,
    count(*) as records,
    cast(sum("rows") as bigint) as "rows",
    min(line) as first_line,
    min(message) as message,
    bool_and(received is null) as is_file
from read_parquet($quarantine)
group by all
order by all
