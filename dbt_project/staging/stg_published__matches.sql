{{ config(materialized="view") }}
-- One row per match published before the business date. A day's own matches are made after its
-- tables; when a day is run again they are already published and must not be read.

with source as (

    select * from {{ source("published", "matches") }}

),

renamed as (

    select
        match_id,
        channel_id,
        lead_id,
        institution_id,
        product_id,
        "rank",
        suggested_apr,
        p_approve,
        p_fund,
        "date" as matched_on

    from source
    where "date" < {{ run_day() }}

)

select * from renamed
