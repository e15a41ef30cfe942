-- The fields of quarantined rows of leads that may be an identity number or a phone. A row is kept
-- as it was received, a line of CSV or an object of JSON. `$files`: the quarantine of leads.

with received as (

    select distinct
        source as channel_id,
        file as path,
        line,
        received
    from read_parquet($files, hive_partitioning = false, union_by_name = true)
    where received is not null and line is not null

),

fields as (

    select
        channel_id,
        path,
        line,
        unnest(string_split_regex(received, '[",:;|{}\t\n]+')) as field
    from received

)

select distinct
    channel_id,
    path,
    line,
    field,
    upper(regexp_replace(field, '[\s-]', '', 'g')) as number
from fields
where length(regexp_replace(field, '[^0-9]', '', 'g')) between 6 and 32
order by path, line, field
