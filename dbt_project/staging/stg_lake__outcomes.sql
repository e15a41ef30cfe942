{{ config(materialized="view") }}
-- One row per outcome taken in by the end of the business date, as the institution reported it.
--
-- A time after the end of the date on which the row was taken in can't be true. Such a row is here
-- with the start of that date as `known_at`, marked: it would else wait unseen until that time
-- comes.

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
        amount,
        apr,
        currency,
        reason,
        history_kind,
        file,
        file_line,
        landed_on,
        "date" as taken_in_on,
        greatest(event_at, recorded_at, known_at) >= {{ day_start(add_days('"date"', 1)) }}
            as is_in_future,
        case
            when known_at >= {{ day_start(add_days('"date"', 1)) }} then {{ day_start('"date"') }}
            else known_at
        end as known_at

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
