-- Channels of which more than $max_share of the phones are not in E.164: emptied at ingest,
-- invalid, or written otherwise. Spaces, hyphens, dots and brackets are allowed.

with written as (

    select
        channel_id,
        count(*) as phones,
        count(*) filter (
            not coalesce(is_phone_valid, false)
            or not regexp_full_match(
                regexp_replace(phone, '[\s().-]', '', 'g'), '\+[1-9][0-9]{5,14}'
            )
        ) as misspelt
    from read_parquet($leads, hive_partitioning = false)
    where phone is not null
    group by channel_id

),

emptied as (

    select
        source as channel_id,
        count(distinct file || ':' || line) as phones
    from read_parquet($quarantine, hive_partitioning = false)
    where "column" = 'phone' and severity = 'warning'
    group by source

)

select
    channel_id,
    coalesce(written.phones, 0) + coalesce(emptied.phones, 0) as all_phones,
    coalesce(written.misspelt, 0) + coalesce(emptied.phones, 0) as all_misspelt
from written
full join emptied using (channel_id)
where all_misspelt >= $min_leads and all_misspelt > $max_share * all_phones
order by channel_id
