-- Sources of at least $min_orders suppressions of which none matches a lead of the last days, with
-- the matches expected by the rate of the other sources (null if none of them matches). It needs
-- $min_leads leads. `suppressions` is a view of the orders known by the end of the day.

with leads as (

    select
        id_number_sha256,
        phone_sha256,
        channel_id || '/' || lead_id as lead
    from read_parquet($leads, hive_partitioning = false)

),

subjects as (

    select
        'id_number' as subject_type,
        id_number_sha256 as subject
    from leads
    union
    select
        'phone' as subject_type,
        phone_sha256 as subject
    from leads
    union
    select
        'lead' as subject_type,
        lead as subject
    from leads

),

sources as (

    select
        suppressions.platform_id,
        count(*) as orders,
        count(subjects.subject) as matched
    from suppressions
    left join subjects
        on
            suppressions.subject_type = subjects.subject_type
            and suppressions.subject = subjects.subject
    group by suppressions.platform_id

),

compared as (

    select
        platform_id,
        orders,
        matched,
        sum(matched) over () - matched as matched_by_others,
        sum(orders) over () - orders as orders_of_others
    from sources

)

select
    platform_id,
    orders,
    case
        when matched_by_others > 0 then orders * matched_by_others / orders_of_others
    end as expected
from compared
where
    matched = 0
    and orders >= $min_orders
    and (select count(*) from leads) >= $min_leads
order by platform_id
