{{ config(materialized="view") }}
-- One row per order not to match someone, or not with one institution: as a source sent it, or as
-- ingest derived it from a copy of a lead that withdraws its consent and from what could not be
-- read.

with sent as (

    select * from {{ source("lake", "suppressions") }}

),

closing as (

    select * from {{ source("intake", "closing_orders") }}

),

renamed as (

    select
        subject_type,
        case when subject_type = 'lead' then subject else lower(subject) end as subject,
        reason,
        institution_id,
        effective_at,
        "date" as known_on

    from sent
    where "date" <= {{ run_day() }}
    union all
    select
        subject_type,
        subject,
        reason,
        institution_id,
        {{ day_start('"date"') }} as effective_at,
        "date" as known_on

    from closing
    where "date" <= {{ run_day() }}

)

select * from renamed
