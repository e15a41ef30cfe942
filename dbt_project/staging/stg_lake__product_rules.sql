{{ config(materialized="view") }}
-- One row per hard rule in each set of rules that an institution ever sent.

with source as (

    select * from {{ source("lake", "product_rules") }}

),

renamed as (

    select
        institution_id,
        product_id,
        attribute,
        op,
        value,
        landed_on,
        "date" as known_on

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
