{{ config(materialized="view") }}
-- One row per report of what one business invoiced another in a month; businesses as hashes.

with source as (

    select * from {{ source("lake", "supply_links") }}

),

renamed as (

    select
        platform_id,
        buyer_sha256,
        seller_sha256,
        cast(month || '-01' as date) as month_start,
        recorded_at,
        known_at,
        amount,
        currency,
        paid_late_share,
        confirmed_share,
        days_to_pay

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
