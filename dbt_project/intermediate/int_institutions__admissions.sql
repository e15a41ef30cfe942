-- One row per institution that a platform lists now: from when until when all platforms admit it.
--
-- Where platforms disagree, the more careful one counts: the latest start, the earliest end. A
-- platform that took the institution off its list ends the admission, until another platform sends
-- a newer list with it.

with versions as (

    select
        *,
        row_number() over (
            partition by platform_id, institution_id
            order by known_on desc
        ) as age
    from {{ ref("int_institutions__versions") }}

),

admissions as (

    select
        institution_id,
        max(admitted_from) filter (where replaced_on is null) as admitted_from,
        min(admitted_to) filter (where replaced_on is null) as admitted_to,
        max(known_on) filter (where replaced_on is null) as listed_on,
        max(replaced_on) filter (where age = 1) as removed_on
    from versions
    group by institution_id

)

select
    institution_id,
    admitted_from,
    admitted_to,
    listed_on > coalesce(removed_on, cast('0001-01-01' as date)) as is_listed
from admissions
where listed_on is not null
