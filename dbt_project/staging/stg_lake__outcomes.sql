{{ config(materialized="view") }}
-- One row per outcome known before the end of the business date, as the institution reported it.

with source as (

    select * from {{ source("lake", "outcomes") }}

),

renamed as (

    select
        institution_id,
        product_id,
        match_id,
        channel_id,
        lead_id,
        event,
        event_at,
        recorded_at,
        known_at,
        amount,
        apr,
        reason

    from source
    where
        "date" <= {{ run_day() }}
        and known_at < {{ day_start(add_days(run_day(), 1)) }}

)

select * from renamed
