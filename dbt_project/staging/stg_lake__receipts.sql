{{ config(materialized="view") }}
-- One row per answer of an institution to a delivery or notice, taken in by the end of the business
-- date. The ledger of deliveries judges it; no feature reads it.

with source as (

    select * from {{ source("lake", "receipts") }}

),

renamed as (

    select
        institution_id,
        delivery_id,
        version,
        sha256,
        "rows",
        status,
        reason,
        "at" as answered_at,
        "date" as taken_in_on

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
