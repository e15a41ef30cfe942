-- One row per lead, of the last weeks, of each person with a lead on the business date: everything
-- that decides which of a person's leads is canonical.

{% set window = (var("same_person_days") | int) + 1 %}

with leads as (

    select * from {{ ref("stg_lake__leads") }}
    where
        business_date
        >= {{ add_days(run_day(), - window * (var("same_person_windows") | int)) }}

),

persons as (

    select * from {{ ref("int_persons") }}

),

people_of_the_day as (

    select distinct person_key
    from persons
    where business_date = {{ run_day() }}

),

recent as (

    select
        leads.channel_id,
        leads.lead_id,
        leads.business_date,
        leads.captured_at,
        persons.person_key,
        leads.phone_sha256,
        leads.device_id,
        leads.is_id_valid,
        leads.is_phone_valid,
        leads.is_owner_id_valid,
        leads.consent_at,
        leads.consent_withdrawn_at,
        leads.consent_version,
        leads.consent_text_sha256,
        leads.consent_by_role,
        leads.segment,
        leads.region

    from leads
    inner join persons
        on leads.channel_id = persons.channel_id and leads.lead_id = persons.lead_id
    inner join people_of_the_day
        on persons.person_key = people_of_the_day.person_key

)

select * from recent
