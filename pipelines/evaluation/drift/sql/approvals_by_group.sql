-- Decided, approved, predicted and usual matches of each group, now and in the reference. Sums of
-- the reference are weighted. `usual_variance` is the variance of the usual approvals now that
-- comes from the ratios of the institutions, which few decisions leave uncertain.

with grouped as (

    select
        *,
        case $grouping
            when 'all' then ''
            when 'institution' then institution_id
            when 'channel' then channel_id
            when 'industry' then industry
        end as group_name
    from compared

),

by_institution as (

    select
        group_name,
        institution_id,
        power(sum(usual) filter (where is_current), 2) / any_value(shape) as usual_variance
    from grouped
    group by group_name, institution_id

),

variances as (

    select
        group_name,
        cast(sum(cast(usual_variance as decimal(28, 9))) as double) as usual_variance
    from by_institution
    group by group_name

)

select
    grouped.group_name,
    count(*) filter (where is_current) as current_decided,
    count(*) filter (where is_current and is_approved) as current_approved,
    cast(
        coalesce(sum(p_approve) filter (where is_current), 0) as double
    ) as current_predicted,
    cast(coalesce(sum(usual) filter (where is_current), 0) as double) as current_usual,
    coalesce(any_value(variances.usual_variance), 0) as usual_variance,
    count(*) filter (where not is_current) as reference_decided,
    cast(
        coalesce(sum(weight) filter (where not is_current and is_approved), 0) as double
    ) as reference_approved,
    cast(
        coalesce(sum(weight * p_approve) filter (where not is_current), 0) as double
    ) as reference_predicted,
    cast(
        coalesce(sum(weight * usual) filter (where not is_current), 0) as double
    ) as reference_usual,
    count(distinct matched_on) filter (where not is_current) as reference_days,
    cast(
        coalesce(
            sum(weight) filter (where not is_current and is_approved and is_by_current_models), 0
        ) as double
    ) as same_models_approved,
    cast(
        coalesce(
            sum(weight * p_approve) filter (where not is_current and is_by_current_models), 0
        ) as double
    ) as same_models_predicted
from grouped
inner join variances on grouped.group_name = variances.group_name
where grouped.group_name is not null
group by grouped.group_name
order by grouped.group_name
