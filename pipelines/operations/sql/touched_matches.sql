-- The matches that a rule forbids under one of two versions of the policies and not under the
-- other.

with forbidden as (

    select
        broken_after.broken_rule,
        broken_after.match_id,
        broken_after.person,
        'forbidden' as effect
    from broken_after
    left join broken_before
        on
            broken_after.broken_rule = broken_before.broken_rule
            and broken_after.match_id = broken_before.match_id
    where broken_before.match_id is null

),

allowed as (

    select
        broken_before.broken_rule,
        broken_before.match_id,
        broken_before.person,
        'allowed' as effect
    from broken_before
    left join broken_after
        on
            broken_before.broken_rule = broken_after.broken_rule
            and broken_before.match_id = broken_after.match_id
    where broken_after.match_id is null

)

select * from forbidden
union all
select * from allowed
