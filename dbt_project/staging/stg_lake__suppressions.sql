{{ config(materialized="view") }}
-- One row per order not to match someone, or not with one institution.

with source as (

    select * from {{ source("lake", "suppressions") }}

),

renamed as (

    select
        subject_type,
        case when subject_type = 'lead' then subject else lower(subject) end as subject,
        reason,
        institution_id,
        effective_at,
        "date" as known_on

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
