{{ config(materialized="view") }}
-- One row per row or file that restricts and could not be read.

with source as (

    select * from {{ source("intake", "restrictions") }}

),

renamed as (

    select
        feed,
        source,
        -- every institution, or unknown which
        case
            when lower(trim(institution_id)) not in ('', 'all', '*') then trim(institution_id)
        end as institution_id,
        nullif(trim(product_id), '') as product_id,
        subject_type,
        "action",
        reason,
        file,
        line,
        "date" as known_on

    from source
    where "date" <= {{ run_day() }}

)

select * from renamed
