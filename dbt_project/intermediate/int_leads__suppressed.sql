-- One row per recent lead that is suppressed: for every institution (`reason`), or for some
-- institutions only.
--
-- An order names one identity number, phone or lead, and holds for every lead of its person; one
-- that names the number of a firm's owner holds for the firm. It
-- holds for the leads of a business date if it was known by the end of that date and took effect by
-- then: when the day is matched it is known, and must be obeyed. It is not a feature, so the models
-- don't depend on it.

with leads as (

    select * from {{ ref("int_leads__recent") }}

),

links as (

    select * from {{ ref("int_persons__links") }}

),

subjects as (

    select
        person_key,
        'id_number' as subject_type,
        id_number_sha256 as subject
    from {{ ref("int_persons") }}
    union
    select
        person_key,
        'id_number' as subject_type,
        owner_id_number_sha256 as subject
    from {{ ref("int_persons") }}
    union
    select
        person_key,
        'phone' as subject_type,
        phone_sha256 as subject
    from {{ ref("int_persons") }}
    union
    select
        person_key,
        'lead' as subject_type,
        channel_id || '/' || lead_id as subject
    from {{ ref("int_persons") }}

),

orders as (

    select distinct
        subjects.person_key,
        suppressions.reason,
        suppressions.institution_id,
        suppressions.known_on,
        suppressions.effective_at

    from subjects
    inner join {{ ref("stg_lake__suppressions") }} as suppressions
        on
            subjects.subject_type = suppressions.subject_type
            and subjects.subject = suppressions.subject

),

suppressed as (

    select
        leads.channel_id,
        leads.lead_id,
        min(case when orders.institution_id is null then orders.reason end) as reason,
        {{ sorted_list("orders.institution_id") }} as institutions

    from leads
    inner join links
        on leads.person_key = links.person_key
    inner join orders
        on
            links.linked_person_key = orders.person_key
            and leads.business_date >= orders.known_on
            and orders.effective_at < {{ day_start(add_days("leads.business_date", 1)) }}
    group by leads.channel_id, leads.lead_id

)

select * from suppressed
