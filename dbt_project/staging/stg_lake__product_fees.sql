{{ config(materialized="view") }}
-- One row per fee in each list of fees that an institution ever sent.

with source as (

    select * from {{ source("lake", "product_fees") }}

),

renamed as (

    select
        institution_id,
        product_id,
        fee,
        basis,
        value,
        currency,
        "when" as charged_when,
        collector,
        is_contingent,
        landed_on,
        "date" as known_on

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
