-- Count, sum and sum of squares of each group and of its reference, by stratum, and over all strata
-- where `stratum` is null. A lender is compared only by attributes that a law protects.

with refs as (
    select
        attribute,
        arg_min(group_name, (-people, group_name)) as group_name
    from (
        select
            attribute,
            group_name,
            count(*) as people
        from memberships
        group by attribute, group_name
    ) as counted
    group by attribute
),

cells as (
    select
        strata.measure,
        strata.institution_id,
        memberships.attribute,
        memberships.group_name,
        strata.stratum,
        count(*) as people,
        sum(strata.amount) as total,
        sum(strata.amount * strata.amount) as squares
    from strata
    inner join memberships on strata.person = memberships.person
    where strata.institution_id = '' or memberships.is_protected
    group by
        grouping sets (
            (
                strata.measure,
                strata.institution_id,
                memberships.attribute,
                memberships.group_name,
                strata.stratum
            ),
            (
                strata.measure,
                strata.institution_id,
                memberships.attribute,
                memberships.group_name
            )
        )
)

select
    cells.measure,
    cells.institution_id,
    cells.attribute,
    cells.group_name,
    refs.group_name as reference,
    cells.stratum is not null as is_controlled,
    cells.people,
    cast(cells.total as double) as total,
    cast(cells.squares as double) as squares,
    coalesce(others.people, 0) as reference_people,
    coalesce(cast(others.total as double), 0) as reference_total,
    coalesce(cast(others.squares as double), 0) as reference_squares
from cells
inner join refs on cells.attribute = refs.attribute
left join cells as others
    on
        cells.measure = others.measure
        and cells.institution_id = others.institution_id
        and cells.attribute = others.attribute
        and cells.stratum is not distinct from others.stratum
        and refs.group_name = others.group_name
order by
    cells.institution_id,
    cells.measure,
    cells.attribute,
    cells.group_name,
    is_controlled,
    cells.stratum
