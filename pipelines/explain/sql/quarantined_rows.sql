-- Quarantined rows of a channel in which the id of a lead occurs as a whole word.

select distinct
    file,
    line,
    "column",
    rule
from read_parquet($records, hive_partitioning = false)
where
    source = $channel
    and severity = 'critical'
    and regexp_matches(
        received, '(^|[^A-Za-z0-9_-])' || regexp_escape($lead) || '($|[^A-Za-z0-9_-])'
    )
order by all
