{{ config(materialized="view") }}
-- One row per report of a channel's spend on a date and campaign. The feed's own `date` hides the
-- partition's, so the day of knowing comes from `known_at`, which is its first moment.

with source as (

    select * from {{ source("lake", "channel_spend") }}

),

renamed as (

    select
        channel_id,
        "date" as spent_on,
        coalesce(campaign_id, '') as campaign_id,
        {{ platform_date("known_at") }} as known_on,
        spend,
        currency

    from source
    where known_at < {{ day_start(add_days(run_day(), 1)) }}

)

select * from renamed
