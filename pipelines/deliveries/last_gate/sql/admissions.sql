-- Whether each institution was admitted on `$day` and on `$as_of`, by the newest list of each
-- platform.
--
-- A platform that took it off its list ends the admission, until another one sends a newer list
-- with it. Where lists disagree on its dates, the stricter one counts.

create or replace table gate.admissions as

with dates as (

    select unnest(list_distinct([cast($day as date), cast($as_of as date)])) as judged_on

),

platform_lists as (

    select distinct
        dates.judged_on,
        institutions.platform_id,
        institutions.landed_on,
        institutions.known_on
    from dates
    inner join gate.institutions on dates.judged_on >= institutions.known_on

),

newest_lists as (

    select
        judged_on,
        platform_id,
        max_by(
            struct_pack(landed_on := landed_on, known_on := known_on),
            struct_pack(landed_on := landed_on, known_on := known_on)
        ) as newest
    from platform_lists
    group by judged_on, platform_id

),

listed as (

    select
        newest_lists.judged_on,
        institutions.institution_id,
        max(institutions.known_on) as listed_on,
        any_value(institutions.kind) as kind,
        bool_and(
            institutions.admitted_from <= newest_lists.judged_on
            and coalesce(institutions.admitted_to, newest_lists.judged_on) >= newest_lists.judged_on
        ) as is_admitted
    from newest_lists
    inner join gate.institutions
        on
            newest_lists.platform_id = institutions.platform_id
            and newest_lists.newest.landed_on = institutions.landed_on
            and newest_lists.newest.known_on = institutions.known_on
    group by newest_lists.judged_on, institutions.institution_id

),

last_lists as (

    select
        newest_lists.judged_on,
        institutions.platform_id,
        institutions.institution_id,
        max(institutions.known_on) as last_known_on,
        max(newest_lists.newest.known_on) as newest_known_on
    from newest_lists
    inner join gate.institutions
        on
            newest_lists.platform_id = institutions.platform_id
            and newest_lists.newest.known_on >= institutions.known_on
    group by newest_lists.judged_on, institutions.platform_id, institutions.institution_id

),

removals as (

    select
        last_lists.judged_on,
        last_lists.institution_id,
        min(platform_lists.known_on) as removed_on
    from last_lists
    inner join platform_lists
        on
            last_lists.judged_on = platform_lists.judged_on
            and last_lists.platform_id = platform_lists.platform_id
            and last_lists.last_known_on < platform_lists.known_on
    where last_lists.last_known_on < last_lists.newest_known_on
    group by last_lists.judged_on, last_lists.platform_id, last_lists.institution_id

),

removed as (

    select
        judged_on,
        institution_id,
        max(removed_on) as removed_on
    from removals
    group by judged_on, institution_id

)

select
    listed.judged_on,
    listed.institution_id,
    listed.kind,
    listed.is_admitted
    and listed.listed_on > coalesce(removed.removed_on, date '0001-01-01') as is_admitted
from listed
left join removed
    on
        listed.judged_on = removed.judged_on
        and listed.institution_id = removed.institution_id
