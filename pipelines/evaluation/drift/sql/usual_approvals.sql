-- The decided matches with `weight`, and with the approvals that are usual: the prediction times
-- the ratio of approvals to predictions that the institution had in the reference.
--
-- A current match is seen after few days, a match of the reference after all that count. So a match
-- of the reference weighs as much as the share of the current days on which a decision as fast as
-- its own would be known by now. The ratio of an institution is shrunk to that of all by
-- `institution_weight` approvals: a gamma distribution, whose shape is the number of approvals.

create or replace temp table compared as

with weighted as (

    select
        *,
        cast(
            case
                when is_current then 1
                else
                    len(list_filter($current_ages, lambda age: age >= days_to_decision))
                    / len($current_ages)
            end as decimal(9, 6)
        ) as weight
    from decided

),

overall as (

    select
        (coalesce(sum(weight * cast(is_approved as integer)), 0) + $institution_weight)
        / (coalesce(sum(weight * p_approve), 0) + $institution_weight) as ratio
    from weighted
    where not is_current

),

institutions as (

    select
        institution_id,
        coalesce(sum(weight * cast(is_approved as integer)) filter (where not is_current), 0)
        + $institution_weight as shape,
        coalesce(sum(weight * p_approve) filter (where not is_current), 0) as predicted
    from weighted
    group by institution_id

)

select
    weighted.*,
    institutions.shape,
    cast(
        weighted.p_approve * institutions.shape
        / (institutions.predicted + $institution_weight / overall.ratio) as decimal(28, 9)
    ) as usual
from weighted
inner join institutions on weighted.institution_id = institutions.institution_id
cross join overall
