-- One row per recent lead that is suppressed: for every institution (`reason`), or for some
-- institutions only.
--
-- An order holds for the leads of a business date if it was known by the end of that date and took
-- effect by then: when the day is matched it is known, and must be obeyed. It is not a feature, so
-- the models don't depend on it.

with leads as (

    select * from {{ ref("int_leads__recent") }}

),

subjects as (

    select
        channel_id,
        lead_id,
        business_date,
        'id_number' as subject_type,
        id_number_sha256 as subject
    from leads
    union all
    select
        channel_id,
        lead_id,
        business_date,
        'phone' as subject_type,
        phone_sha256 as subject
    from leads
    union all
    select
        channel_id,
        lead_id,
        business_date,
        'lead' as subject_type,
        channel_id || '/' || lead_id as subject
    from leads

),

suppressions as (

    select * from {{ ref("stg_lake__suppressions") }}

),

suppressed as (

    select
        subjects.channel_id,
        subjects.lead_id,
        min(case when suppressions.institution_id is null then suppressions.reason end) as reason,
        {{ sorted_list("suppressions.institution_id") }} as institutions

    from subjects
    inner join suppressions
        on
            subjects.subject_type = suppressions.subject_type
            and subjects.subject = suppressions.subject
            and subjects.business_date >= suppressions.known_on
            and suppressions.effective_at < {{ day_start(add_days("subjects.business_date", 1)) }}
    group by subjects.channel_id, subjects.lead_id

)

select * from suppressed
