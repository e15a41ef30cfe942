-- The registrations of each owner of `gate.joining_owners`. One that came with several is of none.

create or replace table gate.owned_firms as

with listed as (

    select
        judged_on,
        owner_key,
        unnest(registrations) as registration_key
    from gate.joining_owners

)

select
    judged_on,
    registration_key,
    min(owner_key) as owner_key
from listed
group by judged_on, registration_key
having count(*) = 1
