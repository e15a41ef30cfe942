-- The number of groups of each attribute that are too small to be shown.

with counted as (
    select
        attribute,
        group_name,
        count(*) as people
    from memberships
    group by attribute, group_name
)

select
    attribute,
    count(*) filter (where people < $min_group) as withheld
from counted
group by attribute
order by attribute
