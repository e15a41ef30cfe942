{{ config(materialized="view") }}
-- One row per institution in each list of institutions that a platform ever sent.

with source as (

    select * from {{ source("lake", "institutions") }}

),

renamed as (

    select
        platform_id,
        institution_id,
        landed_on,
        "date" as known_on,
        name,
        kind as institution_kind,
        admitted_from,
        admitted_to,
        delivery,
        format,
        fields,
        public_key,
        register_applications,
        register_approvals,
        total_assets

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
