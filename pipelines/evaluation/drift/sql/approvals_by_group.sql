-- Decided, approved and predicted matches of each group, now and in the reference.

with grouped as (

    select
        *,
        case $grouping
            when 'all' then ''
            when 'institution' then institution_id
            when 'channel' then channel_id
            when 'industry' then industry
        end as group_name
    from decided

)

select
    group_name,
    count(*) filter (where is_current) as current_decided,
    count(*) filter (where is_current and is_approved) as current_approved,
    cast(
        coalesce(sum(p_approve) filter (where is_current), 0) as double
    ) as current_predicted,
    count(*) filter (where not is_current) as reference_decided,
    count(*) filter (where not is_current and is_approved) as reference_approved,
    cast(
        coalesce(sum(p_approve) filter (where not is_current), 0) as double
    ) as reference_predicted,
    count(distinct matched_on) filter (where not is_current) as reference_days,
    count(*) filter (
        where not is_current and is_approved and is_by_current_models
    ) as same_models_approved,
    cast(
        coalesce(sum(p_approve) filter (where not is_current and is_by_current_models), 0)
        as double
    ) as same_models_predicted
from grouped
where group_name is not null
group by group_name
order by group_name
