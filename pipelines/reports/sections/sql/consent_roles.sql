-- Business leads of the date by the role of who consented, with how many of them the role closes
-- and how many are matched. An empty role is none stated.

with businesses as (

    select
        sent.channel_id,
        sent.lead_id,
        regexp_replace(lower(trim(coalesce(sent.consent_by_role, ''))), '[\s-]+', '_', 'g') as role
    from read_parquet($sent, hive_partitioning = false) as sent
    where sent.segment = 'business'

),

matched as (

    select distinct
        channel_id,
        lead_id
    from read_parquet($matches, hive_partitioning = false)

),

judged as (

    select
        case
            when list_contains($known, businesses.role) or businesses.role = ''
                then businesses.role
            else 'unknown'
        end as role,
        leads.exclusion_detail is not null
        and starts_with(leads.exclusion_detail, 'consent_role_') as is_closed,
        matched.lead_id is not null as is_matched
    from businesses
    inner join read_parquet($leads, hive_partitioning = false) as leads
        on businesses.channel_id = leads.channel_id and businesses.lead_id = leads.lead_id
    left join matched
        on businesses.channel_id = matched.channel_id and businesses.lead_id = matched.lead_id

)

select
    role,
    count(*) as leads,
    count(*) filter (is_closed) as closed,
    count(*) filter (is_matched) as matched
from judged
group by role
order by leads desc, role asc
