-- One row per lead, of the last weeks, of each person with a lead on the business date: everything
-- that decides which of a person's leads is canonical.

{% set window = (var("same_person_days") | int) + 1 %}

with leads as (

    select * from {{ ref("stg_lake__leads") }}
    where
        business_date
        >= {{ add_days(run_day(), - window * (var("same_person_windows") | int)) }}

),

people_of_the_day as (

    select distinct person_key
    from leads
    where business_date = {{ run_day() }}

),

recent as (

    select leads.*

    from leads
    inner join people_of_the_day
        on leads.person_key = people_of_the_day.person_key

)

select * from recent
