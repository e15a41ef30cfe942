-- Institutions that the platform's list had at the day before and has not any more.

with listed_before as (

    select distinct institution_id
    from read_parquet($before, hive_partitioning = false)
    where admitted_from is not null

),

listed_now as (

    select distinct institution_id
    from read_parquet($now, hive_partitioning = false)
    where admitted_from is not null

)

select listed_before.institution_id
from listed_before
left join listed_now on listed_before.institution_id = listed_now.institution_id
where listed_now.institution_id is null
order by listed_before.institution_id
