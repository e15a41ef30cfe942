-- Suppression orders by source: how many there are, and how many are about a lead of the last days.
-- `suppressions` is a view of the orders known by the end of the day; the ones that ingest derived
-- from what withdraws or cannot be read have no source. `sent_leads`: the leads of the last days.

with leads as (

    select
        id_number_sha256,
        owner_id_number_sha256,
        phone_sha256,
        channel_id || '/' || lead_id as lead
    from sent_leads

),

subjects as (

    select
        'id_number' as subject_type,
        id_number_sha256 as subject
    from leads
    union
    select
        'id_number' as subject_type,
        owner_id_number_sha256 as subject
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

)

select
    coalesce(suppressions.platform_id, '') as source,
    count(*) as orders,
    count(subjects.subject) as matched,
    count(*) filter (
        where suppressions.institution_id is null or suppressions.institution_id in ('all', '*')
    ) as of_every_institution,
    list_sort(list(distinct suppressions.reason)) as reasons,
    (select count(*) from leads) as leads
from suppressions
left join subjects
    on
        suppressions.subject_type = subjects.subject_type
        and suppressions.subject = subjects.subject
group by suppressions.platform_id
order by source
